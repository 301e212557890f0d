"""A scoring that can be gone on from: the rows done so far, in a file beside the one that they will become."""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import equinox as eqx
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tightbound import learn
from tightbound.data import Table, atomic_write
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.resume import fingerprint
from tightbound.estimator.settings import DEFAULTS
from tightbound.evidence import PER_ROW, Evidence, Method, Partial

_METHODS = tuple(Method)
_NAMES = (*PER_ROW, "rung", "tolerance", "identity")


@final
class ScoreKeeper:
    """Keeps the rows of a scoring on disk, at most once every so many seconds, and once more when it is interrupted."""

    def __init__(self, path: Path, identity: str, every_seconds: float = 10.0):
        self._path, self._identity, self._every = path, identity, every_seconds
        self._last = time.monotonic()
        self._unsaved: Partial | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._unsaved is not None:
            self._write(self._unsaved)

    def __call__(self, partial: Partial) -> None:
        """A piece of work has ended."""
        self._unsaved = partial
        if time.monotonic() - self._last >= self._every:
            self._write(partial)

    def _write(self, partial: Partial) -> None:
        data = _to_bytes(partial, self._identity)
        atomic_write(self._path, lambda stream: _put(stream, data))
        self._last, self._unsaved = time.monotonic(), None


def scoring_identity(model: FittedModel, table: Table, options: Mapping[str, Any]) -> str:
    """Identifies model, rows and options, so that no scoring is gone on with by another."""
    settings = {**DEFAULTS, **model.summary.settings}  # a model of an earlier version lacks what is new
    digest = hashlib.sha256(fingerprint((table,), settings, model.summary.seed).encode())
    digest.update(learn.digest(learn.named_arrays(eqx.filter(model.pair, eqx.is_array))).encode())
    digest.update(json.dumps([dict(options), model.refined_by], sort_keys=True).encode())
    return digest.hexdigest()


def read_scores(path: Path, identity: str) -> Partial | None:
    """The rows kept at `path`; None where there are none. Raises `ValueError` where they are not of this scoring."""
    try:
        arrays = load(path.read_bytes())
    except FileNotFoundError:
        return None
    except SafetensorError:
        arrays = {}
    if set(arrays) != set(_NAMES) or arrays["identity"].tobytes().decode() != identity:
        raise ValueError(
            f"{path} must hold rows of this very scoring (same model, data and options), but it does not; repeat the "
            "original command, or remove that file to start again."
        )
    columns: dict[str, Any] = {name: arrays[name] for name in PER_ROW}
    columns["method"] = np.array([_METHODS[i] for i in arrays["method"]], dtype=object)
    return Partial(Evidence(**columns, tolerance=float(arrays["tolerance"][0])), arrays["rung"])


def _to_bytes(partial: Partial, identity: str) -> bytes:
    evidence = partial.evidence
    arrays = {name: np.ascontiguousarray(getattr(evidence, name)) for name in PER_ROW if name != "method"}
    arrays["method"] = np.array([_METHODS.index(method) for method in evidence.method], np.int64)
    arrays["rung"] = np.ascontiguousarray(partial.rung)
    arrays["tolerance"] = np.array([evidence.tolerance], np.float64)
    arrays["identity"] = np.frombuffer(identity.encode(), np.uint8)
    return bytes(save(arrays))


def _put(stream: Any, data: bytes) -> None:
    stream.write(data)


def done_rows(partial: Partial) -> int:
    """How many rows have an estimate."""
    return int(np.sum(partial.rung >= 0))
