"""Data and models that are small enough to be fitted in a blink, and the command line called inside this process."""

import atexit
import contextlib
import functools
import io
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TIGHTBOUND_CACHE", "")  # compiled programs do not belong into the home of who runs the tests

import jax
import numpy as np
import polars as pl
import pytest

from tightbound import VAE
from tightbound.cli import app as cli

N = 40
SETTINGS = {
    "latent_dim": 1,
    "network": "residual(hidden_sizes=(8,))",
    "epochs": 3,
    "n_importance_samples": 20,
    "random_state": 0,
    "scoring_method": "importance",
}
SMALLEST = {"network": "linear", "validation_fraction": 0}
"""What makes the smallest program to compile, where a test needs one of its own."""
OPTIONS = (
    "--latent-dim=1",
    "--network=residual(hidden_sizes=8)",
    "--epochs=3",
    "--n-importance-samples=20",
    "--scoring-method=importance",
    "--no-checks",
    "--quiet",
)
"""The same settings on the command line, so that the same compiled programs are used."""
SMALLEST_OPTIONS = (*OPTIONS, "--network=linear", "--validation-fraction=0")


@functools.cache
def frame() -> pl.DataFrame:
    """Three real columns that go together, on very different scales; a text column and a number that says nothing."""
    rng = np.random.default_rng(7)
    z = rng.normal(size=N)
    a, b, c = (scale * (z + 0.5 * rng.normal(size=N)) + shift for scale, shift in ((1, 0), (100, 50), (0.01, -1)))
    return pl.DataFrame({"a": a, "b": b, "c": c, "kind": ["u", "v"] * (N // 2), "id": np.arange(N)})


def numbers() -> pl.DataFrame:
    """Its modelled columns."""
    return frame().select("a", "b", "c")


def vae(**settings) -> VAE:
    """An estimator that is not fitted yet."""
    return VAE(**{**SETTINGS, **settings})


@functools.cache
def fitted() -> VAE:
    """The estimator fitted to `numbers()`; not to be changed."""
    return vae().fit(numbers())


PLACE = Path(tempfile.mkdtemp(prefix="tightbound-tests-"))
CSV, MODEL = PLACE / "t.csv", PLACE / "m"
"""All of `frame()`, and the model that `tightbound fit` makes of it, once `folder()` has been called."""
atexit.register(shutil.rmtree, PLACE, ignore_errors=True)


@functools.cache
def folder() -> Path:
    """The folder with `CSV` and `MODEL`, which are made at the first call; not to be changed."""
    frame().write_csv(CSV)
    done = run("fit", CSV, "-o", MODEL, "--label=kind", "--drop=id", *OPTIONS)
    assert done.status == 0, done.err
    return PLACE


@dataclass(frozen=True)
class Done:
    """What a command gave."""

    status: int
    stdout: bytes
    err: str

    @property
    def out(self) -> str:
        return self.stdout.decode()

    def failed(self, status: int = 2) -> str:
        """The one sentence of a command that failed as it should."""
        assert self.status == status, (self.status, self.err, self.out)
        assert self.stdout == b""
        assert self.err.startswith("tightbound: ") and self.err.endswith(".\n"), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err.removeprefix("tightbound: ").strip()


def run(*arguments: object, stdin: bytes = b"") -> Done:
    """Run the command line in this process: no second start of JAX, no second compilation."""
    streams = {
        "argv": ["tightbound", *map(str, arguments)],
        "stdin": io.TextIOWrapper(io.BytesIO(stdin)),
        "stdout": io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True),
        "stderr": io.StringIO(),
    }
    status = 0
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("default")  # a warning is a note to the user there, not an error
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        try:
            cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
    return Done(status, streams["stdout"].buffer.getvalue(), streams["stderr"].getvalue())


def everything_under(place: Path) -> dict[str, bytes | None]:
    """Every file with its bytes and every folder: what a command that fails must not change."""
    return {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else None
        for path in sorted(place.rglob("*"))
    }


@contextlib.contextmanager
def quick_compilation() -> Iterator[None]:
    """Programs that run a few steps are better compiled quickly than well."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
