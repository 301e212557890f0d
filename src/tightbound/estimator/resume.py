"""Work that can be gone on from: the state of a fit or a scoring in a file, when it is written, and whose it is."""

import contextlib
import dataclasses
import hashlib
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, final

import equinox as eqx
import numpy as np

from tightbound import learn
from tightbound.data import DataError, Table, atomic_write, reserved
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.settings import PARAMETERS, SCORING, Settings
from tightbound.evidence import Partial
from tightbound.model import strict_json

T = TypeVar("T")


@final
@dataclasses.dataclass(frozen=True)
class Checkpointing:
    """Where a fit's state is kept, whether to go on from it, and how many seconds may be lost."""

    path: Path
    resume: bool = False
    every_seconds: float = 10.0


def checkpointing_at(path: str | os.PathLike[str] | None, resume: bool) -> Checkpointing | None:
    """The checkpointing of a fit by an estimator (None: none)."""
    if path is None:
        if resume:
            raise ValueError(
                "resume=True must come with a checkpoint file, but checkpoint is None; set VAE(checkpoint=...)."
            )
        return None
    return Checkpointing(Path(path), resume)


class Keeper:
    """Keeps the latest state of some work in a file, at most once every so many seconds.

    As a context it holds the file against a second run, and keeps what it has not yet written when the work ends or is
    interrupted. A disk that is full does not end the work: that is said, and tried again.

    Args:
        path: the file; it appears whole or not at all.
        pack: the bytes of a state.
    """

    def __init__(self, path: Path, pack: Callable[..., bytes], every_seconds: float = 10.0):
        self._path, self._pack, self._every = path, pack, every_seconds
        self._last = -float("inf")
        self._unsaved: tuple[Any, ...] | None = None
        self._failing = False
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._held.enter_context(reserved(self._path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            if self._unsaved is not None:
                self._write()
        if error is not None and self._path.exists():
            error.add_note(f"{self._path} keeps its state")

    def __call__(self, *state: Any) -> None:
        """A piece of work has ended."""
        self._unsaved = state
        if time.monotonic() - self._last >= self._every:
            self._write()

    def _write(self) -> None:
        try:
            atomic_write(self._path, self._pack(*self._unsaved or ()))
        except DataError as error:
            if not self._failing:
                warnings.warn(f"The state of the work cannot be kept for now, and it goes on: {error}", stacklevel=2)
            self._failing = True
        else:
            self._failing, self._unsaved = False, None
        self._last = time.monotonic()


def kept(path: Path, unpack: Callable[[bytes], T], must: str) -> T | None:
    """The state kept at `path`; None where there is none yet. Raises `ValueError` when it cannot be gone on from."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return unpack(data)
    except ValueError as error:
        raise ValueError(
            f"The checkpoint {path} must {must}, but {error}; repeat the original command, or remove the checkpoint to "
            "start again."
        ) from error


def identity_of(path: Path) -> str | None:
    """Whose work is kept at `path`; None where there is none. Raises `ValueError` for a file that is no checkpoint."""
    try:
        words = learn.header_of(path.read_bytes()).get("__metadata__", {})
        identity = words["identity"]
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise ValueError(
            f"{path} must be free for the state of the work, or hold such a state, but it is something else; choose "
            "another name, or move that away."
        ) from error
    return str(identity)


def scoring_identity(model: FittedModel, table: Table, options: Mapping[str, Any]) -> str:
    """Identifies model, rows and options, so that no scoring is gone on with by another."""
    digest = hashlib.sha256(fingerprint((table,), model.summary.settings, model.summary.seed).encode())
    digest.update(learn.digest(learn.named_arrays(eqx.filter(model.pair, eqx.is_array))).encode())
    digest.update(strict_json.digest([dict(options), model.refined_by, model.summary.settings.to_json()]).encode())
    return digest.hexdigest()


def score_keeper(path: Path, identity: str) -> Keeper:
    """Keeps the rows of a scoring."""
    return Keeper(path, lambda partial: learn.packed(partial.arrays, identity))


def kept_scores(path: Path, identity: str) -> Partial | None:
    """The rows of a scoring that are kept at `path`, with the errors of `kept`."""
    must = "hold rows of this very scoring (same model, data and options)"
    return kept(path, lambda data: Partial.of(learn.unpacked(data, identity)[0]), must)


def fingerprint(tables: Sequence[Table], settings: Settings, seed: int) -> str:
    """Identifies data (validation rows included), settings and seed, so that a fit is never resumed with others."""
    digest = _digest_of(tables)
    relevant = {name: value for name, value in settings.to_json().items() if PARAMETERS[name].group != SCORING}
    digest.update(strict_json.digest([relevant, seed]).encode())
    return digest.hexdigest()


def _digest_of(tables: Sequence[Table]) -> Any:
    digest = hashlib.sha256()
    for table in tables:
        digest.update(strict_json.digest([list(table.names), str(table.values.dtype), table.n_rows]).encode())
        digest.update(np.ascontiguousarray(table.values).tobytes())
        if table.coded is not None:
            digest.update(strict_json.digest(table.coded.to_json()).encode())
    return digest
