"""Hidden cells that are filled in again are compared with a simple value by the same measure, at which it is best."""

import numpy as np
import pytest

from tightbound.estimator.reproduction import _of_levels, _of_numbers, _of_ordered_levels

RNG = np.random.default_rng(2)


def test_a_median_of_ordered_levels_is_compared_with_the_median() -> None:
    """Half of the cells have level 0, the others 2 to 4: shares of wrong levels would favour level 0 at any model."""
    values = np.repeat([0.0, 2.0, 3.0, 4.0], [49, 17, 17, 17])
    cells = RNG.permutation(values)
    knowing = np.where(cells == 0, 1.0, cells - 1)  # always one level off, never right
    model, simple = _of_ordered_levels(cells, knowing, values)
    assert model == 1.0
    assert simple == pytest.approx(np.mean(np.abs(cells - 2)))
    assert all(simple <= np.mean(np.abs(cells - level)) for level in range(5))
    assert model < simple
    # A model that knows nothing ties with the simple value.
    assert _of_ordered_levels(cells, np.full(100, 2.0), values)[0] == simple


def test_other_levels_are_compared_with_the_most_frequent_and_numbers_with_the_mean() -> None:
    values = np.repeat([0.0, 1.0, 2.0], [5, 3, 2])
    assert _of_levels(values, values, values) == (0.0, 0.5)
    numbers = RNG.normal(3, 2, size=50)
    model, simple = _of_numbers(numbers, np.full(50, numbers.mean()), numbers)
    assert model == simple == pytest.approx(1.0)
    assert np.isnan(_of_numbers(numbers, numbers, np.ones(5))).all()
