"""A fit that is interrupted goes on to the same bits; the same seed gives the same bits; nothing compiles twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest
from small_fits import CASES, INTENSITIES, NUMBERS, SEED, SMALL, InterruptedFitError, bits, fitted, whole

from tightbound import learn
from tightbound.data import Table, as_table
from tightbound.estimator.fit import fit_table
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.resume import Checkpointing, Keeper
from tightbound.estimator.resume import kept as kept_at
from tightbound.estimator.settings import Settings
from tightbound.learn import loop


@pytest.fixture
def one_epoch_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short epochs run several at once; here the host, and with it the checkpoint, is asked after each."""
    monkeypatch.setattr(loop, "_SECONDS_A_CALL", 0)


@pytest.fixture(params=CASES)
def uninterrupted(request: pytest.FixtureRequest) -> tuple[str, FittedModel]:
    """A case and its fit in one go."""
    return request.param, whole(request.param)


@pytest.mark.usefixtures("one_epoch_a_call")
def test_an_interrupted_fit_goes_on_to_the_same_bits(uninterrupted: tuple[str, FittedModel], tmp_path: Path) -> None:
    """Interrupted after one epoch, in the middle and just before the end, always going on from the last time."""
    case, model = uninterrupted
    n = len(model.summary.history)
    path = tmp_path / "fit.checkpoint"
    for i, epoch in enumerate((1, n // 2, n - 1)):
        with pytest.raises(InterruptedFitError):
            fitted(case, Checkpointing(path, resume=i > 0, every_seconds=0), stop_at=epoch)
        assert path.exists()
    assert bits(fitted(case, Checkpointing(path, resume=True))) == bits(model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fit.checkpoint"]


@pytest.mark.usefixtures("one_epoch_a_call")
def test_epochs_after_the_last_checkpoint_are_run_again(
    uninterrupted: tuple[str, FittedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint is written at most every so many seconds: the one found is older than the kill."""
    case, model = uninterrupted
    path = tmp_path / "fit.checkpoint"
    with monkeypatch.context() as patch, pytest.raises(InterruptedFitError):
        patch.setattr(Keeper, "__exit__", lambda self, *error: self._held.close())  # a killed process writes nothing
        fitted(case, Checkpointing(path, every_seconds=1e6), stop_at=4)
    assert _epochs_kept(case, path) == 1
    assert bits(fitted(case, Checkpointing(path, resume=True))) == bits(model)


def _epochs_kept(case: str, path: Path) -> int:
    seen = []
    x, settings = CASES[case]

    def on_epoch(record: learn.EpochRecord, most: int, rows: int) -> None:
        seen.append(record.epoch)

    resumed = Checkpointing(path, resume=True, every_seconds=1e6)
    fit_table(as_table(x), Settings(**{**SMALL, **settings}), seed=SEED, checkpointing=resumed, on_epoch=on_epoch)
    return seen[0] - 1


def test_how_many_epochs_run_at_once_changes_no_bit(uninterrupted: tuple[str, FittedModel], tmp_path: Path) -> None:
    """With checkpoints as the clock has it, and resumed from the end: nothing is left to do."""
    case, model = uninterrupted
    path = tmp_path / "fit.checkpoint"
    assert bits(fitted(case, Checkpointing(path, every_seconds=0))) == bits(model)
    assert bits(fitted(case, Checkpointing(path, resume=True), stop_at=1)) == bits(model)


def test_resuming_without_a_checkpoint_starts_from_the_beginning(tmp_path: Path) -> None:
    case = "binarised"
    assert bits(fitted(case, Checkpointing(tmp_path / "none", resume=True))) == bits(whole(case))


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    case = "binarised"
    assert bits(whole(case)) == bits(fitted(case))
    assert bits(whole(case)) != bits(fitted(case, seed=4))


# What is no checkpoint of this fit.


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint of the binarised case."""
    path = tmp_path_factory.mktemp("kept") / "fit.checkpoint"
    fitted("binarised", Checkpointing(path))
    return path.read_bytes()


def refused(path: Path, table: Table, settings: dict, seed: int = SEED, validation: Table | None = None) -> str:
    """The sentence that refuses to resume."""
    before = path.read_bytes()
    with pytest.raises(ValueError, match="must be one of this very fit") as caught:
        fit_table(
            table,
            Settings(**settings),
            seed=seed,
            validation=validation,
            checkpointing=Checkpointing(path, resume=True),
        )
    assert path.read_bytes() == before
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    assert "remove the checkpoint to start again" in sentence
    return sentence


BINARISED = {**SMALL, **CASES["binarised"][1]}


@pytest.mark.parametrize(
    ("rows", "changes", "seed"),
    [
        (INTENSITIES[::-1], {}, SEED),
        (INTENSITIES[:, ::-1], {}, SEED),
        (INTENSITIES[:-1], {}, SEED),
        (INTENSITIES, {"epochs": 9}, SEED),
        (INTENSITIES, {"learning_rate": 0.004}, SEED),
        (INTENSITIES, {"patience": 2}, SEED),
        (INTENSITIES, {"latent_dim": 2}, SEED),
        (INTENSITIES, {}, 4),
    ],
    ids=["row order", "column order", "fewer rows", "epochs", "rate", "patience", "latent_dim", "seed"],
)
def test_a_checkpoint_of_another_fit_is_refused(
    rows: np.ndarray, changes: dict, seed: int, kept: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "fit.checkpoint"
    path.write_bytes(kept)
    assert "it belongs to other data or other settings" in refused(path, as_table(rows), {**BINARISED, **changes}, seed)


def test_a_checkpoint_of_a_fit_with_other_validation_rows_is_refused(tmp_path: Path) -> None:
    path, table = tmp_path / "fit.checkpoint", as_table(INTENSITIES)
    fit_table(
        table, Settings(**BINARISED), seed=SEED, validation=table.take(range(5)), checkpointing=Checkpointing(path)
    )
    refused(path, table, BINARISED, validation=table.take(range(6, 11)))


def test_what_does_not_change_the_fit_does_not_stop_it_from_going_on(kept: bytes, tmp_path: Path) -> None:
    path = tmp_path / "fit.checkpoint"
    path.write_bytes(kept)
    changed = {**BINARISED, "n_importance_samples": 9}
    model = fit_table(
        as_table(INTENSITIES), Settings(**changed), seed=SEED, checkpointing=Checkpointing(path, resume=True)
    )
    assert bits(model) == bits(whole("binarised"))


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"not one" * 9], ids=range(3))
def test_a_damaged_checkpoint_is_refused(damage: Callable[[bytes], bytes], kept: bytes, tmp_path: Path) -> None:
    path = tmp_path / "fit.checkpoint"
    path.write_bytes(damage(kept))
    assert "it is no checkpoint or is damaged" in refused(path, as_table(INTENSITIES), BINARISED)


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert kept_at(tmp_path / "none", bytes, "be one") is None


# Compilation.


@contextmanager
def compilations() -> Iterator[list[str]]:
    """The names of the programs compiled inside."""
    names: list[str] = []

    def listen(event: str, duration: float, **facts: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(str(facts.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_nothing_compiles_twice_for_the_same_shapes() -> None:
    """Other data of the same shape and another seed: every program is there. The first fit compiles its epochs once."""
    settings = {**SMALL, "network": "residual(hidden_sizes=(3,))", "epochs": 70}
    with compilations() as first:
        fit_table(as_table(NUMBERS), Settings(**settings), seed=0)
    assert sum("run_epochs" in name for name in first) == 1
    with compilations() as second:
        fit_table(as_table(NUMBERS), Settings(**settings), seed=0)
        fit_table(as_table(NUMBERS[::-1] * 2), Settings(**settings), seed=1)
    assert second == []


# The real thing: a process that is killed.

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from tightbound.data import as_table
from tightbound.estimator.fit import fit_table
from tightbound.estimator.resume import Checkpointing
from tightbound.estimator.folder import save_model
from tightbound.estimator.settings import Settings

folder = Path(sys.argv[1])
x = np.random.default_rng(1).normal(size=(300, 4)) @ np.random.default_rng(2).normal(size=(4, 4))
x[::7, 1] = np.nan
model = fit_table(
    as_table(x),
    Settings(latent_dim=2, network="residual(hidden_sizes=(16, 16))", batch_size=20, epochs=1500, patience=0),
    seed=5,
    checkpointing=Checkpointing(folder / "fit.checkpoint", resume=True, every_seconds=0),
    on_epoch=lambda record, most, rows: print(record.epoch, flush=True),
)
save_model(folder / "model", model)
"""
LAST_KILL = 600  # epochs: well before the end, so that every kill meets a running fit


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of a user: float32, and a compilation cache, which a kill may also hit."""
    ours = {k: v for k, v in os.environ.items() if k not in ("JAX_ENABLE_X64", "JAX_NUMPY_RANK_PROMOTION")}
    return {**ours, "TIGHTBOUND_CACHE": str(tmp_path_factory.mktemp("cache"))}


def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """A process that fits, goes on where an earlier one was killed, and saves."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    with (folder / "stderr.txt").open("a") as errors:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)


def finish(process: subprocess.Popen[str], folder: Path) -> bytes:
    """Wait for the end; the bytes of the weights."""
    process.communicate(timeout=200)
    assert process.returncode == 0, (folder / "stderr.txt").read_text()
    return (folder / "model" / "weights.safetensors").read_bytes()


def kill_at_random(process: subprocess.Popen[str], rng: random.Random, first_epoch: int, last_epoch: int) -> int:
    """SIGKILL at a random moment after a random epoch: while computing, or while writing the next checkpoint."""
    assert process.stdout is not None
    target = rng.randint(first_epoch, last_epoch)
    for line in process.stdout:
        if int(line) >= target:
            break
    time.sleep(rng.random() * 0.1)
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0].split()
    assert process.returncode == -signal.SIGKILL  # it was still running
    return int(rest[-1]) if rest else target


@pytest.fixture(scope="module")
def expected(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], bytes]]:
    """The weights of a fit that was never interrupted; it runs beside the others until they are asked for."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(folder, environment)
    weights: list[bytes] = []

    def wait() -> bytes:
        if not weights:
            weights.append(finish(process, folder))
        return weights[0]

    yield wait
    process.kill()
    process.communicate()


def killed_again_and_again(
    times: int, expected: Callable[[], bytes], environment: dict[str, str], folder: Path, seed: int
) -> None:
    """Kill a fit so many times, let the last one finish, and compare."""
    rng = random.Random(seed)
    reached = 0
    for _ in range(times):
        process = start(folder, environment)
        try:
            reached = kill_at_random(process, rng, reached + 1, reached + (LAST_KILL - reached) // times)
        finally:
            process.kill()
        assert (folder / "fit.checkpoint").exists()
        assert not (folder / "model").exists()
    assert finish(start(folder, environment), folder) == expected()


def test_a_killed_fit_resumes_to_the_same_bits(
    expected: Callable[[], bytes], environment: dict[str, str], tmp_path: Path
) -> None:
    """Killed, and resumed; twice and more in the slow suite."""
    killed_again_and_again(1, expected, environment, tmp_path / "fit", random.SystemRandom().randrange(2**32))


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(20))
def test_a_fit_killed_at_any_moment_resumes_to_the_same_bits(
    moment: int, expected: Callable[[], bytes], environment: dict[str, str], tmp_path: Path
) -> None:
    killed_again_and_again(1 + moment % 3, expected, environment, tmp_path / "fit", moment)
