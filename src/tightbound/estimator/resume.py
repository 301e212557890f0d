"""Checkpoints of a running fit or scoring: when they are written, and whether one may be gone on from."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from tightbound import learn
from tightbound.data import Table, atomic_write
from tightbound.estimator.settings import DEFAULTS, SETTINGS


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
    """Writes the state of a fit to disk, at most once every so many seconds."""

    def __init__(self, checkpointing: Checkpointing, identity: str):
        self._checkpointing = checkpointing
        self._identity = identity
        self._last = -float("inf")

    def __call__(self, state: learn.FitState, history: tuple[learn.EpochRecord, ...]) -> None:
        now = time.monotonic()
        if now - self._last >= self._checkpointing.every_seconds:
            data = learn.to_bytes(state, history, self._identity)
            atomic_write(self._checkpointing.path, lambda stream: _write(stream, data))
            self._last = now


def _write(stream: Any, data: bytes) -> None:
    stream.write(data)


def read_checkpoint(
    path: Path, template: learn.FitState, identity: str
) -> tuple[learn.FitState, tuple[learn.EpochRecord, ...]] | None:
    """The state kept at `path`; None where there is none yet. Raises `ValueError` when it cannot be gone on from."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return learn.from_bytes(data, template, identity)
    except ValueError as error:
        raise ValueError(
            f"The checkpoint {path} must be one of this very fit (same data, settings and seed), but {error}; "
            "repeat the original command, or remove the checkpoint to start again."
        ) from error


def fingerprint(tables: Sequence[Table], settings: Mapping[str, Any], seed: int) -> str:
    """Identifies data (validation rows included), settings and seed, so that a fit is never resumed with others."""
    digest = _digest_of(tables)
    beside = {"verbose", *(setting.name for setting in SETTINGS if setting.group == "Scoring")}
    relevant = {k: v for k, v in json_settings(settings).items() if k not in beside}
    digest.update(json.dumps([relevant, seed], sort_keys=True).encode())
    return digest.hexdigest()


def _digest_of(tables: Sequence[Table]) -> Any:
    digest = hashlib.sha256()
    for table in tables:
        digest.update(json.dumps([list(table.names), str(table.values.dtype), table.n_rows]).encode())
        digest.update(np.ascontiguousarray(table.values).tobytes())
        if table.coded is not None:
            digest.update(json.dumps(table.coded.to_json(), sort_keys=True).encode())
    return digest


def json_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as plain JSON values."""
    return {name: _plain(settings[name]) for name in DEFAULTS}


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, (str, int, float, bool)) else None
