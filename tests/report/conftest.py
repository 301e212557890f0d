"""Report contents for the tests: a plain table, and one case for everything that can be unusual."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from report_trust import trusted, unknown

from tightbound.report import EvidenceRow, ReportContent, render

ROW_OFFSET = 1000


def plain(
    rows: int = 60, columns: int = 4, latent: int = 3, image_shape: tuple[int, ...] | None = None
) -> ReportContent:
    """Return a table with labels; row 0, of the lowest log p(x), has a far cell in column 1, row 2 in both ends."""
    rng = np.random.default_rng(7)
    means = rng.normal(size=(rows, latent))
    data = means @ rng.normal(size=(latent, columns)) + 0.3 * rng.normal(size=(rows, columns))
    data[0, min(1, columns - 1)] = 50.0
    data[min(2, rows - 1), :: max(1, columns - 1)] = 4 * data.std(axis=0)[:: max(1, columns - 1)]
    log_evidence = np.linspace(-90.0, -10.0, rows)
    kl = np.linspace(0.0, 2.5, latent) if latent > 1 else np.array([1.5])
    return ReportContent(
        title="A table",
        summary="A variational autoencoder fitted to a table.",
        settings={"latent_dim": str(latent)},
        messages=("Column 'flat' has one value only.",),
        history={
            "epoch": np.arange(1, 21),
            "train_bound": -90 * np.exp(-np.arange(20) / 2) - 12.25,
            "validation_bound": -90 * np.exp(-np.arange(20) / 2) - 13.25 - 0.1 * np.abs(np.arange(20) - 15),
        },
        best_epoch=16,
        evidence=(
            EvidenceRow("ELBO", -52.3456, 0.213, "nats a row", "lower bound", "closed-form KL", 1234),
            EvidenceRow("rows with high k-hat", 3, None, "rows", "count", "importance weights", 1234),
        ),
        log_evidence=log_evidence,
        elbo=log_evidence - 1.5,
        data=data,
        samples=rng.normal(size=(50, columns)),
        reconstructions=data + 0.1 * rng.normal(size=data.shape),
        names=tuple(f"column {index}" for index in range(columns)),
        image_shape=image_shape,
        latent_means=means,
        prior_samples=rng.normal(size=(200, latent)),
        labels=np.array(["setosa", "versicolor", "virginica"])[np.arange(rows) % 3],
        kl_per_dimension=kl,
        active=kl > 0.01,
        row_numbers=np.arange(rows) + ROW_OFFSET,
    )


def images(channels: int = 1, scale: float = 1.0) -> ReportContent:
    """Return images of 5 x 4 pixels between 0 and `scale`."""
    shape = (5, 4) if channels == 1 else (5, 4, channels)
    content = plain(columns=20 * channels, image_shape=shape)
    pixels = np.random.default_rng(1).uniform(0, scale, content.data.shape)
    return replace(content, data=pixels, reconstructions=pixels * 0.9, samples=pixels[::-1])


def without_validation() -> ReportContent:
    content = plain()
    return replace(content, history={**content.history, "validation_bound": np.full(20, np.nan)})


def with_missing(content: ReportContent) -> ReportContent:
    data = content.data.copy()
    data[np.random.default_rng(3).random(data.shape) < 0.2] = np.nan
    data[4] = np.nan
    data[:, 2] = np.nan
    return replace(content, data=data)


def with_constant_columns() -> ReportContent:
    content = plain()
    data, samples, reconstructions = content.data.copy(), content.samples.copy(), content.reconstructions.copy()
    data[:, :2], samples[:, :2], reconstructions[:, :2] = 3.0, 3.0, 3.0
    samples[:, 1] = 0.0
    return replace(content, data=data, samples=samples, reconstructions=reconstructions)


def labelled(labels: object) -> ReportContent:
    return replace(plain(), labels=np.asarray(labels))


def hostile(name: str = "<script>alert(1)</script>&\"'$x_{") -> ReportContent:
    content = plain()
    return replace(
        content,
        title=name,
        summary=name,
        messages=(name,),
        settings={name: name},
        names=(name, "_hidden", "a\nb", "列"),
        labels=np.array([name, "_b", ""])[np.arange(60) % 3],
        evidence=(EvidenceRow(name, 1.0, None, name, name, name, 1),),
    )


CASES: dict[str, Callable[[], ReportContent]] = {
    "plain": plain,
    "one column": lambda: plain(columns=1),
    "two columns": lambda: plain(columns=2),
    "seven columns": lambda: plain(columns=7),
    "300 columns": lambda: plain(columns=300),
    "one latent dimension": lambda: plain(latent=1),
    "one latent dimension, no labels": lambda: replace(plain(latent=1), labels=None),
    "100 latent dimensions": lambda: plain(latent=100),
    "two rows": lambda: plain(rows=2),
    "one row": lambda: plain(rows=1),
    "no validation": without_validation,
    "one epoch": lambda: replace(plain(), history={k: v[:1] for k, v in plain().history.items()}, best_epoch=1),
    "no epoch": lambda: replace(plain(), history={}, best_epoch=None),
    "best epoch unknown": lambda: replace(plain(), best_epoch=None),
    "no labels": lambda: replace(plain(), labels=None),
    "number labels": lambda: labelled(np.arange(60) * 0.5),
    "number labels with gaps": lambda: labelled(np.where(np.arange(60) % 7, np.arange(60.0), np.nan)),
    "few number labels": lambda: labelled(np.where(np.arange(60) % 7, np.arange(60) % 3, np.nan)),
    "many text labels": lambda: labelled([f"kind {index % 30}" for index in range(60)]),
    "mixed labels": lambda: labelled(np.array([None, "a", 3] * 20, dtype=object)),
    "missing cells": lambda: with_missing(plain()),
    "constant columns": with_constant_columns,
    "no messages": lambda: replace(plain(), messages=()),
    "no samples": lambda: replace(plain(), samples=np.zeros((0, 4)), prior_samples=np.zeros((0, 3))),
    "posterior widths": lambda: replace(plain(), latent_scales=np.full((60, 3), 0.5)),
    "nothing active": lambda: replace(plain(), kl_per_dimension=np.zeros(3), active=np.zeros(3, dtype=bool)),
    "integers": lambda: replace(plain(), data=plain().data.astype(int)),
    "single precision": lambda: replace(plain(), data=plain().data.astype(np.float32)),
    "huge values": lambda: replace(plain(), data=plain().data * 1e30, samples=plain().samples * 1e30),
    "unknown log p(x)": lambda: replace(plain(), log_evidence=np.full(60, np.nan), elbo=np.full(60, np.nan)),
    "images": images,
    "images 0..255": lambda: images(scale=255),
    "images of floats": lambda: replace(images(), data=images().data * 7 - 3),
    "colour images": lambda: images(channels=3),
    "images with missing pixels": lambda: with_missing(images()),
    "two images": lambda: replace(plain(rows=2, columns=20, image_shape=(5, 4))),
    "images without samples": lambda: replace(images(), samples=np.zeros((0, 20))),
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
    return render(CASES[name]())


@pytest.fixture(scope="session")
def case() -> Callable[[str], ReportContent]:
    """The content of a case, by name."""
    return lambda name: CASES[name]()


@pytest.fixture(scope="session")
def page_named() -> Callable[[str], str]:
    """The page of a case, by name."""
    return page_of


@pytest.fixture(scope="session", params=CASES)
def rendered(request: pytest.FixtureRequest) -> tuple[ReportContent, str]:
    """The content and the page of every case in turn."""
    return CASES[request.param](), page_of(request.param)
