"""Which likelihood the data get, and which rows are held out."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightbound.data import DataError, Preprocessing, as_table, preprocess, split

BINARY = np.array([[0, 1], [1, 0]])
GREY = np.arange(48).reshape(4, 3, 4).astype(np.uint8) * 5
REAL = np.array([[0.5, -1.0], [2.0, 3.0]])


def _decide(values, *arguments):
    _, encoding, sentence = preprocess(as_table(values, source="t.csv"), Preprocessing(*arguments))
    return encoding, sentence


@pytest.mark.parametrize(
    ("values", "arguments", "likelihood", "binarize", "words"),
    [
        (BINARY, (), "bernoulli", False, ["0 or 1", "probability"]),
        (BINARY.astype(bool), (), "bernoulli", False, ["0 or 1"]),
        (np.array([[0, np.nan], [1.0, 1]]), (), "bernoulli", False, ["0 or 1"]),
        (BINARY, ("auto", True), "bernoulli", False, ["nothing to binarise"]),
        (BINARY, ("gaussian",), "gaussian", False, ["although every value is 0 or 1"]),
        (REAL, (), "gaussian", False, ["real numbers", "density"]),
        (GREY.reshape(4, 12), (), "gaussian", False, ["whole numbers", "not the probability of a count"]),
        (GREY, (), "gaussian", False, ["8-bit images of 3 x 4", "without dequantisation", "binarize=True"]),
        (GREY, ("auto", True), "bernoulli", True, ["value/255", "anew every time"]),
        (GREY, ("bernoulli", True), "bernoulli", True, ["value/255"]),
        (GREY / 255, ("auto", True), "bernoulli", True, ["probability value,"]),
        (GREY // 8, ("auto", True), "bernoulli", True, ["only 29 of 255", "rescale"]),
    ],
)
def test_decisions(values, arguments, likelihood, binarize, words):
    encoding, sentence = _decide(values, *arguments)
    assert (encoding.likelihood, encoding.binarize) == (likelihood, binarize)
    assert sentence.endswith(".") and all(word in sentence for word in words)
    assert ("of 255" in sentence) == ("of 255" in "".join(words))


@pytest.mark.parametrize(
    ("values", "arguments", "words"),
    [
        (REAL, ("bernoulli",), ["t.csv", "row 0", "'x0'", "0.5", "'gaussian'"]),
        (GREY, ("bernoulli",), ["pixel (0, 1)", "holds 5", "binarize=True"]),
        (REAL, ("auto", True), ["row 0", "holds 0.5", "0 to 255", "rescale"]),
        (GREY.astype(int) * 2, ("auto", True), ["holds 260"]),
        (GREY, ("gaussian", True), ["binarize", "leave out"]),
        (REAL, ("normal",), ["likelihood", "'auto', 'gaussian', 'bernoulli'", "'normal'"]),
    ],
)
def test_choices_that_do_not_fit_are_refused(values, arguments, words):
    with pytest.raises(DataError) as caught:
        _decide(values, *arguments)
    assert all(word in str(caught.value) for word in words)
    assert ("binarize=True" in str(caught.value)) == ("binarize=True" in words)


@given(st.integers(0, 200), st.floats(0, 0.999), st.integers(0, 9), st.none() | st.integers(1, 50))
def test_a_split_is_a_partition(n, fraction, seed, maximum):
    train, validation = split(n, fraction, seed, maximum)
    assert sorted([*train, *validation]) == list(range(n))
    assert (np.diff(train) > 0).all() and (np.diff(validation) > 0).all()
    assert len(validation) <= (maximum or n)
    if n >= 2 and fraction > 0:
        assert len(train) > 0 and len(validation) > 0
    if fraction == 0:
        assert len(validation) == 0
    again = split(n, fraction, seed, maximum)
    np.testing.assert_array_equal(train, again[0])


def test_a_split_depends_on_its_seed_and_has_the_size_asked_for():
    assert [len(part) for part in split(1000, 0.1, 0)] == [900, 100]
    assert [len(part) for part in split(1000, 0.1, 0, 30)] == [970, 30]
    assert split(1000, 0.1, 0)[1].tolist() != split(1000, 0.1, 1)[1].tolist()


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_fractions_outside_are_refused(fraction):
    with pytest.raises(DataError, match="fraction must be at least 0 and below 1"):
        split(10, fraction, 0)


def test_importing_data_is_light():
    import subprocess

    heavy = ["polars", "pandas", "PIL", "sklearn", "scipy", "narwhals", "jax"]
    code = f"import sys, tightbound.data; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
