"""The flags that XLA is given, and those that it is not."""

import importlib.metadata
import importlib.util
import os

import numpy as np
import pytest

from tightbound import VAE
from tightbound.estimator.compiler import QUICK, QUICKER, compile_quickly


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"jaxlib": "0.10.2"}[name])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"{QUICK} {QUICKER}"),
        ("--xla_dump_to=here", f"--xla_dump_to=here {QUICK} {QUICKER}"),
        ("--xla_backend_optimization_level=3", f"--xla_backend_optimization_level=3 {QUICKER}"),
        ("--xla_cpu_use_fusion_emitters=true", f"--xla_cpu_use_fusion_emitters=true {QUICK}"),
    ],
    ids=range(4),
)
def test_the_users_flags_stay(monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> None:
    monkeypatch.setenv("XLA_FLAGS", before)
    compile_quickly()
    assert os.environ["XLA_FLAGS"] == after


@pytest.mark.parametrize(("jaxlib", "after"), [("0.10.9", f"{QUICK} {QUICKER}"), ("0.11.0", QUICK), ("1.10.0", QUICK)])
def test_a_library_that_may_not_know_the_flag_is_not_given_it(
    monkeypatch: pytest.MonkeyPatch, jaxlib: str, after: str
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: jaxlib)
    monkeypatch.setenv("XLA_FLAGS", "")
    compile_quickly()
    assert os.environ["XLA_FLAGS"] == after


@pytest.mark.parametrize(("platforms", "after"), [(None, ""), ("cuda,cpu", ""), ("cpu", f"{QUICK} {QUICKER}")])
def test_with_an_accelerator_nothing_is_set(monkeypatch: pytest.MonkeyPatch, platforms: str | None, after: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "jax_plugins" else None)
    monkeypatch.setenv("XLA_FLAGS", "")
    if platforms is None:
        monkeypatch.delenv("JAX_PLATFORMS")
    else:
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
    compile_quickly()
    assert os.environ["XLA_FLAGS"] == after


def test_a_fit_in_python_compiles_quickly_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "")
    VAE(1, epochs=1, network="residual(hidden_sizes=2)").fit(np.arange(20.0).reshape(10, 2))
    assert os.environ["XLA_FLAGS"] == f"{QUICK} {QUICKER}"
