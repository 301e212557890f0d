"""The host's side of a fit: the same bits, the best epoch, patience, resuming, checkpoints."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_pairs import KEY, Recorder, all_finite, assert_same_bits, assert_same_fit, network_pair, recipe, run

from tightbound.learn import (
    ELBO,
    Dataset,
    EpochRecord,
    FitResult,
    Optimiser,
    Pair,
    Status,
    from_bytes,
    initial_state,
    mean_bound,
    named_arrays,
    to_bytes,
    with_arrays,
)
from tightbound.learn.state import Keys

RNG = np.random.default_rng(4)
TRAIN, VALIDATION = RNG.normal(size=(7, 3)), RNG.normal(size=(11, 3))
HOW = recipe(optimiser=Optimiser(0.05, 400, 3), objective=ELBO(), batch_size=3)
EPOCHS = 30
Fitted = tuple[FitResult, Recorder]


def overfit(**options: object) -> Fitted:
    """A fit of seven rows that soon does harm to the validation rows."""
    return run(network_pair(), TRAIN, HOW, VALIDATION, **{"epochs": EPOCHS, **options})


@pytest.fixture(scope="module")
def whole() -> Fitted:
    """The fit that is never stopped."""
    return overfit()


def validation_bounds(result: FitResult) -> np.ndarray:
    return np.array([entry.validation_bound for entry in result.history])


def test_a_fit_learns(whole: Fitted) -> None:
    train = [entry.train_bound for entry in whole[0].history]
    assert np.mean(train[-5:]) > np.mean(train[:5]) + 0.3
    assert whole[0].status is Status.COMPLETED
    assert whole[0].detail == Status.COMPLETED.value
    assert [entry.epoch for entry in whole[0].history] == list(range(1, EPOCHS + 1))
    assert [int(state.step) for state in whole[1].states] == [3 * e for e in range(1, EPOCHS + 1)]


def test_the_same_key_gives_the_same_bits(whole: Fitted) -> None:
    assert_same_fit(overfit()[0], whole[0])


def test_how_many_epochs_run_at_once_changes_no_bit(whole: Fitted) -> None:
    """The host takes several short epochs in one call; how many depends on the clock, the numbers must not."""
    several, record = overfit(seconds_a_call=1e9)
    assert len(record.states) < EPOCHS
    assert_same_fit(several, whole[0])


def test_patience_also_stops_in_the_middle_of_a_call() -> None:
    stops = set()
    for patience in range(1, 7):
        several, _ = overfit(seconds_a_call=1e9, patience=patience)
        assert_same_fit(several, overfit(patience=patience)[0])
        stops.add(len(several.history))
    assert stops - {1, 3, 7, 15, 31}  # where calls of 1, 2, 4, ... epochs end by themselves


def test_another_key_gives_other_bits(whole: Fitted) -> None:
    other, _ = overfit(key=jax.random.key(8), epochs=2)
    assert other.history[0].train_bound != whole[0].history[0].train_bound
    assert other.history[0].validation_bound != whole[0].history[0].validation_bound


def test_the_best_epoch_is_the_one_with_the_best_validation_bound(whole: Fitted) -> None:
    result, record = whole
    bounds = validation_bounds(result)
    assert result.best_epoch == int(np.argmax(bounds)) + 1
    assert 1 < result.best_epoch < EPOCHS  # else "latest" or "first" would pass as well
    best_so_far = np.maximum.accumulate(bounds)
    assert [entry.best for entry in result.history] == [b == top for b, top in zip(bounds, best_so_far, strict=True)]
    for state, top in zip(record.states, best_so_far, strict=True):
        assert float(state.best_bound) == top


def test_the_parameters_kept_are_those_of_the_best_epoch(whole: Fitted) -> None:
    result, record = whole
    kept = eqx.filter(result.pair, eqx.is_inexact_array)
    assert_same_bits(kept, record.states[result.best_epoch - 1].parameters)
    key = Keys(*jax.random.split(KEY, 3)).validation
    again = jax.jit(lambda pair: mean_bound(pair, HOW, Dataset(jnp.asarray(VALIDATION)), key=key))
    assert float(again(result.pair)) == pytest.approx(validation_bounds(result).max(), abs=1e-12)
    _, static = eqx.partition(result.pair, eqx.is_inexact_array)
    latest = eqx.combine(record.states[-1].parameters, static)
    assert float(again(latest)) == pytest.approx(validation_bounds(result)[-1], abs=1e-12)


@pytest.mark.parametrize("patience", [1, 4])
def test_patience_stops_when_it_is_spent_and_not_earlier(patience: int, whole: Fitted) -> None:
    result, _ = overfit(patience=patience)
    bounds = validation_bounds(whole[0])
    waited, stop = 0, EPOCHS
    for epoch in range(1, EPOCHS + 1):
        waited = 0 if bounds[epoch - 1] == bounds[:epoch].max() else waited + 1
        if waited == patience:
            stop = epoch
            break
    assert stop < EPOCHS
    assert len(result.history) == stop == result.best_epoch + patience
    assert repr(result.history) == repr(whole[0].history[:stop])
    assert result.status is Status.STOPPED_EARLY
    assert result.detail == Status.STOPPED_EARLY.value


@pytest.mark.parametrize("patience", [0, None, EPOCHS])
def test_patience_that_is_none_or_never_spent_changes_nothing(patience: int | None, whole: Fitted) -> None:
    assert_same_fit(overfit(patience=patience)[0], whole[0])


def test_without_validation_the_latest_parameters_are_kept() -> None:
    result, record = run(network_pair(), TRAIN, HOW, epochs=4, patience=1)
    assert result.status is Status.COMPLETED
    assert result.best_epoch == 4
    assert np.isnan(validation_bounds(result)).all()
    assert all(entry.best for entry in result.history)
    assert_same_bits(eqx.filter(result.pair, eqx.is_inexact_array), record.states[-1].parameters)


def test_validation_changes_what_is_kept_and_not_what_is_learnt(whole: Fitted) -> None:
    """But for rounding: with and without it are two compiled programs."""
    _, record = run(network_pair(), TRAIN, HOW, epochs=4)
    pairs = zip(*(jax.tree.leaves(r.states[3].parameters) for r in (record, whole[1])), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_no_epochs_give_the_model_as_it_was() -> None:
    pair = network_pair()
    result, record = run(pair, TRAIN, HOW, VALIDATION, epochs=0)
    assert_same_bits(eqx.filter(result.pair, eqx.is_array), eqx.filter(pair, eqx.is_array))
    assert (result.history, result.best_epoch, record.states) == ((), 0, [])


@pytest.mark.parametrize("epoch", [1, 7, EPOCHS - 1, EPOCHS])
def test_resuming_from_any_epoch_gives_the_same_bits(epoch: int, whole: Fitted) -> None:
    """Through the bytes of a checkpoint: parameters, optimiser, order, noise, best, patience."""
    result, record = whole
    data = to_bytes(record.states[epoch - 1], record.histories[epoch - 1], "mine")
    state, history = from_bytes(data, initial_state(network_pair(seed=1), HOW), "mine")
    resumed, later = overfit(resume_from=(state, history))
    assert_same_fit(resumed, result)
    assert len(later.states) == EPOCHS - epoch
    if later.states:
        assert_same_bits(later.states[-1], record.states[-1])


def test_resuming_while_patience_runs_out_gives_the_same_bits() -> None:
    result, record = overfit(patience=4)
    for epoch in (len(result.history) - 2, len(result.history)):
        resumed, _ = overfit(patience=4, resume_from=(record.states[epoch - 1], record.histories[epoch - 1]))
        assert_same_fit(resumed, result)


# Checkpoints as bytes.


@pytest.fixture(scope="module")
def kept(whole: Fitted) -> bytes:
    """The third epoch of the fit."""
    return to_bytes(whole[1].states[2], whole[1].histories[2], "mine")


@pytest.fixture(scope="module")
def template() -> object:
    """A state of the same shapes."""
    return initial_state(network_pair(seed=1), HOW)


def test_a_checkpoint_is_exact(whole: Fitted, kept: bytes, template: object) -> None:
    state, history = from_bytes(kept, template, "mine")
    assert_same_bits(state, whole[1].states[2])
    assert history == whole[1].histories[2]


def test_a_checkpoint_keeps_bounds_that_are_not_finite(whole: Fitted, template: object) -> None:
    history = (EpochRecord(1, -float("inf"), float("nan"), False, float("nan")),)
    _, again = from_bytes(to_bytes(whole[1].states[0], history, "mine"), template, "mine")
    assert repr(again) == repr(history)


def test_a_checkpoint_that_is_cut_off_anywhere_is_refused(kept: bytes, template: object) -> None:
    for length in [*range(40), *range(40, len(kept), max(1, len(kept) // 60)), len(kept) - 1]:
        with pytest.raises(ValueError, match=r"no checkpoint or is damaged|format|missing"):
            from_bytes(kept[:length], template, "mine")


@pytest.mark.parametrize("data", [b"", b"{}", b"\0" * 64, b"\xff" * 64, b"PK\x03\x04" * 20], ids=range(5))
def test_foreign_bytes_are_refused(data: bytes, template: object) -> None:
    with pytest.raises(ValueError, match="it is no checkpoint or is damaged"):
        from_bytes(data, template, "mine")


@pytest.mark.parametrize(
    "part",
    ["header", "numbers"],
)
def test_a_flipped_byte_is_refused(part: str, kept: bytes, template: object) -> None:
    """As every failure here: with a ValueError and no other exception."""
    end = 8 + int.from_bytes(kept[:8], "little")
    places = range(8, end) if part == "header" else range(end, len(kept), 97)
    padding = kept[:end].rstrip(b" ")
    unseen = []
    for i in places:
        if i >= len(padding) and part == "header":
            continue
        flipped = kept[:i] + bytes([kept[i] ^ 0x01]) + kept[i + 1 :]
        try:
            state, history = from_bytes(flipped, template, "mine")
        except ValueError:
            continue
        unseen.append(i)
        del state, history
    # In the header only a digit of the history's numbers can change without a trace.
    allowed = kept.index(b'"history"'), kept.index(b"]]") + 2
    assert all(part == "header" and allowed[0] <= i < allowed[1] for i in unseen)


def test_another_fit_s_checkpoint_is_refused(kept: bytes, template: object) -> None:
    with pytest.raises(ValueError, match="it belongs to other data or other settings"):
        from_bytes(kept, template, "yours")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": "residual(hidden_sizes=(6,))"}, r"array .* must be float64 of shape .*; found float64 of shape"),
        ({"dtype": "float32"}, r"array .* must be float32 of shape .*; found float64"),
        ({"network": "residual(hidden_sizes=(5, 5))"}, "array .* is missing"),
        ({"network": "residual(hidden_sizes=())"}, "array .* does not belong to this model"),
    ],
    ids=["wider", "dtype", "deeper", "shallower"],
)
def test_other_shapes_are_refused_with_the_arrays_name(kept: bytes, changes: dict, sentence: str) -> None:
    how = recipe(optimiser=Optimiser(0.05, 400, 3), dtype=changes.get("dtype", "float64"))
    other = initial_state(network_pair(**changes), how)
    with pytest.raises(ValueError, match=sentence):
        from_bytes(kept, other, "mine")


def test_arrays_have_readable_names() -> None:
    pair = network_pair()
    arrays = named_arrays(eqx.filter(pair, eqx.is_array))
    assert "p.decoder.network.layers[0].weight" in arrays
    assert "q.encoder.network.layers[1].bias" in arrays
    again: Pair = with_arrays(eqx.filter(network_pair(seed=5), eqx.is_array), arrays)
    assert_same_bits(again, eqx.filter(pair, eqx.is_array))
    assert all_finite(pair)
