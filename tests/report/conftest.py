"""Evaluations for the tests: a plain table, and one case for everything that can be unusual."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from report_results import TRAIN, changed, evidence_of, history, plain, training, trusted, unknown

from tightbound.estimator.evaluation import Evaluation
from tightbound.report import render

TITLE = "A table"


def images(channels: int = 1, scale: float = 1.0) -> Evaluation:
    """Return images of 5 x 4 pixels between 0 and `scale`."""
    shape = (5, 4) if channels == 1 else (5, 4, channels)
    found = plain(columns=20 * channels, image_shape=shape)
    pixels = np.random.default_rng(1).uniform(0, scale, found.reproduction.data.shape)
    return changed(found, data=pixels, reconstructions=pixels * 0.9, samples=pixels[::-1])


def with_missing(found: Evaluation) -> Evaluation:
    data = found.reproduction.data.copy()
    data[np.random.default_rng(3).random(data.shape) < 0.2] = np.nan
    data[4] = np.nan
    data[:, 2] = np.nan
    return changed(found, data=data)


def with_constant_columns() -> Evaluation:
    made = plain().reproduction
    data, samples, reconstructions = made.data.copy(), made.samples.copy(), made.reconstructions.copy()
    data[:, :2], samples[:, :2], reconstructions[:, :2] = 3.0, 3.0, 3.0
    samples[:, 1] = 0.0
    return changed(plain(), data=data, samples=samples, reconstructions=reconstructions)


def labelled(labels: object) -> Evaluation:
    return changed(plain(), labels=np.asarray(labels))


def hostile(name: str = "<script>alert(1)</script>&\"'$x_{") -> Evaluation:
    return changed(
        plain(),
        about=name,
        training=training(messages=(name,)),
        settings={name: name},
        names=(name, "_hidden", "a\nb", "列"),
        modelled_names=(name, "_hidden", "a\nb", "列"),
        labels=np.array([name, "_b", ""])[np.arange(60) % 3],
    )


def idle() -> Evaluation:
    """No latent dimension carries anything."""
    latents = plain().latents
    return replace(plain(), latents=replace(latents, mean=0 * latents.mean, kl=0 * latents.kl))


NAN = np.full(60, np.nan)
CASES: dict[str, Callable[[], Evaluation]] = {
    "plain": plain,
    "one column": lambda: plain(columns=1),
    "two columns": lambda: plain(columns=2),
    "seven columns": lambda: plain(columns=7),
    "300 columns": lambda: plain(columns=300),
    "one latent dimension": lambda: plain(latent=1),
    "one latent dimension, no labels": lambda: changed(plain(latent=1), labels=None),
    "100 latent dimensions": lambda: plain(latent=100),
    "two rows": lambda: plain(rows=2),
    "one row": lambda: plain(rows=1),
    "no validation": lambda: replace(plain(), training=training(history=history(TRAIN))),
    "one epoch": lambda: replace(plain(), training=training(history=history(TRAIN[:1]), best_epoch=1)),
    "no epoch": lambda: replace(plain(), training=training(history=(), best_epoch=0)),
    "best epoch unknown": lambda: replace(plain(), training=training(best_epoch=0)),
    "no labels": lambda: changed(plain(), labels=None),
    "number labels": lambda: labelled(np.arange(60) * 0.5),
    "number labels with gaps": lambda: labelled(np.where(np.arange(60) % 7, np.arange(60.0), np.nan)),
    "few number labels": lambda: labelled(np.where(np.arange(60) % 7, np.arange(60) % 3, np.nan)),
    "many text labels": lambda: labelled([f"kind {index % 30}" for index in range(60)]),
    "mixed labels": lambda: labelled(np.array([None, "a", 3] * 20, dtype=object)),
    "missing cells": lambda: with_missing(plain()),
    "constant columns": with_constant_columns,
    "no messages": lambda: replace(plain(), training=training(messages=())),
    "no samples": lambda: changed(plain(), samples=np.zeros((0, 4)), prior_samples=np.zeros((0, 3))),
    "nothing active": idle,
    "integers": lambda: changed(plain(), data=plain().reproduction.data.astype(int)),
    "single precision": lambda: changed(plain(), data=plain().reproduction.data.astype(np.float32)),
    "huge values": lambda: changed(
        plain(), data=plain().reproduction.data * 1e30, samples=plain().reproduction.samples * 1e30
    ),
    "unknown log p(x)": lambda: replace(plain(), evidence=evidence_of(NAN, NAN)),
    "images": images,
    "images 0..255": lambda: images(scale=255),
    "images of floats": lambda: changed(images(), data=images().reproduction.data * 7 - 3),
    "colour images": lambda: images(channels=3),
    "images with missing pixels": lambda: with_missing(images()),
    "two images": lambda: plain(rows=2, columns=20, image_shape=(5, 4)),
    "images without samples": lambda: changed(images(), samples=np.zeros((0, 20))),
    "hostile names": hostile,
    "trusted": lambda: trusted(plain()),
    "trusted images, 12 latent dimensions": lambda: trusted(
        plain(columns=20, latent=12, image_shape=(5, 4)), real=False
    ),
    "trusted and hostile": lambda: trusted(hostile(), name="<script>alert(1)</script>&\"'$x_{"),
    "nothing known": lambda: unknown(plain(rows=1)),
}


@cache
def page_of(name: str) -> str:
    """Return the page of a case, drawn once."""
    found = CASES[name]()
    return render(found, found.about if "hostile" in name else TITLE)


@pytest.fixture(scope="session")
def case() -> Callable[[str], Evaluation]:
    """The results of a case, by name."""
    return lambda name: CASES[name]()


@pytest.fixture(scope="session")
def page_named() -> Callable[[str], str]:
    """The page of a case, by name."""
    return page_of


@pytest.fixture(scope="session", params=CASES)
def rendered(request: pytest.FixtureRequest) -> tuple[Evaluation, str]:
    """The results and the page of every case in turn."""
    return CASES[request.param](), page_of(request.param)
