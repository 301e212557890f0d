"""Results for the tests of the report: an evaluation with round numbers, and what can be unusual in it."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from tightbound.estimator.evaluation import THIS_MODEL, Evaluation
from tightbound.estimator.fitted import TrainingSummary
from tightbound.estimator.reproduction import Reproduction
from tightbound.evidence import (
    Bracket,
    Comparison,
    Evidence,
    Finding,
    Gap,
    Health,
    Latents,
    Method,
    Verdict,
)
from tightbound.learn import EpochRecord

NAN = float("nan")
ROW_OFFSET = 1000
UNIT = "nats a row, the log of a density in the data's own units"


def changed(found: Evaluation, **values: object) -> Evaluation:
    """Return an evaluation with other values of its own fields, or of its reproduction's."""
    inner = {field.name for field in fields(Reproduction)}
    made = replace(found.reproduction, **{name: value for name, value in values.items() if name in inner})
    return replace(found, reproduction=made, **{name: value for name, value in values.items() if name not in inner})


def pattern(n: int, k: int = 1) -> np.ndarray:
    """n numbers of mean 0 whose mean has the standard error 1; those of different k are orthogonal."""
    wave = np.cos(2 * np.pi * k * (np.arange(n) + 0.5) / n)
    return wave * np.sqrt(n) / np.std(wave, ddof=1)


def evidence_of(log_evidence: np.ndarray, elbo: np.ndarray | None = None, **other: object) -> Evidence:
    """Evidence whose rows are all good, by importance sampling, unless it is said otherwise."""
    n = len(log_evidence)
    values = {
        "standard_error": np.full(n, 0.01),
        "elbo": log_evidence - 1.5 if elbo is None else elbo,
        "elbo_standard_error": np.full(n, 0.02),
        "ess": np.full(n, 500.0),
        "khat": np.full(n, 0.25),
        "n_samples": np.full(n, 1000),
        "method": np.full(n, Method.IMPORTANCE, dtype=object),
        "work": np.full(n, 5000),
        "n_discarded": np.zeros(n, np.int64),
    }
    return Evidence(log_evidence, **{**values, **other})


def history(train: np.ndarray, validation: np.ndarray | None = None) -> tuple[EpochRecord, ...]:
    """The bounds of some epochs."""
    judged = np.full(len(train), NAN) if validation is None else validation
    return tuple(EpochRecord(i + 1, *pair, False, pair[0]) for i, pair in enumerate(zip(train, judged, strict=True)))


TRAIN = -90 * np.exp(-np.arange(20) / 2) - 12.25
VALIDATION = -90 * np.exp(-np.arange(20) / 2) - 13.25 - 0.1 * np.abs(np.arange(20) - 15)


def training(**other: object) -> TrainingSummary:
    """20 epochs, of which the 16th is best."""
    values = {
        "source": "X",
        "n_train": 50,
        "n_validation": 10,
        "history": history(TRAIN, VALIDATION),
        "best_epoch": 16,
        "status": "STOPPED",
        "detail": "Stopped early.",
        "seconds": 1.0,
        "seed": 0,
        "settings": {},
        "messages": ("Column 'flat' has one value only.",),
    }
    return TrainingSummary(**{**values, **other})


def latents_of(means: np.ndarray, kl: np.ndarray, sd: float = 0.5) -> Latents:
    """Posteriors of one width, with this KL of each dimension in every row."""
    n = len(means)
    return Latents(means, np.full(means.shape, sd), np.tile(kl, (n, 1)), np.full(n, kl.sum()))


def plain(rows: int = 60, columns: int = 4, latent: int = 3, image_shape: tuple[int, ...] | None = None) -> Evaluation:
    """Return a table with labels; row 0, of the lowest log p(x), has a far cell in column 1, row 2 in both ends.

    The first latent dimension is idle where there are several.
    """
    rng = np.random.default_rng(7)
    means = rng.normal(size=(rows, latent))
    data = means @ rng.normal(size=(latent, columns)) + 0.3 * rng.normal(size=(rows, columns))
    data[0, min(1, columns - 1)] = 50.0
    data[min(2, rows - 1), :: max(1, columns - 1)] = 4 * data.std(axis=0)[:: max(1, columns - 1)]
    if latent > 1:
        means[:, 0] *= 0.01
    names = tuple(f"column {index}" for index in range(columns))
    reproduction = Reproduction(
        names,
        data,
        reconstructions=data + 0.1 * rng.normal(size=data.shape),
        samples=rng.normal(size=(50, columns)),
        prior_samples=rng.normal(size=(200, latent)),
        image_shape=image_shape,
        labels=np.array(["setosa", "versicolor", "virginica"])[np.arange(rows) % 3],
    )
    return Evaluation(
        about="A variational autoencoder fitted to a table.",
        training=training(),
        settings={"latent_dim": str(latent)},
        source="a table",
        unit=UNIT,
        modelled_names=names,
        evidence=evidence_of(np.linspace(-90.0, -10.0, rows)),
        latents=latents_of(means, np.linspace(0.0, 2.5, latent) if latent > 1 else np.array([1.5])),
        row_numbers=np.arange(rows) + ROW_OFFSET,
        n_given=rows,
        reproduction=reproduction,
    )


def bracket() -> Bracket:
    """Return 8 simulated rows 0.1 to 0.8 nats wide."""
    lower = np.linspace(-60.0, -40.0, 8)
    return Bracket(lower, lower + np.array([0.4, 0.1, 0.8, 0.3, 0.2, 0.7, 0.5, 0.6]), 100, 64)


def real_bracket() -> Bracket:
    """Return 5 rows twice as wide, of which the third did not converge."""
    made = bracket()
    upper = made.lower + 2 * (made.upper - made.lower)
    return Bracket(made.lower[:5], upper[:5], 100, 64, np.array([1.0, 1.0, 2.0, 1.0, 1.0]))


def gap(approximation: tuple[float, float], amortisation: tuple[float, float], n: int) -> Gap:
    """Return a gap whose parts have these means and standard errors over n rows."""
    log_evidence = np.full(n, -50.0)
    best = log_evidence - approximation[0] - approximation[1] * pattern(n, 1)
    elbo = best - amortisation[0] - amortisation[1] * pattern(n, 2)
    return Gap(evidence_of(log_evidence, elbo), best, np.full(n, 0.01), elbo, np.full(n, 0.01))


def flagged_evidence(rows: int) -> Evidence:
    """Return two rows in three by importance sampling, the rest annealed; every tenth flagged, row 1 exact."""
    place = np.arange(rows)
    method = np.where(place % 3 == 2, Method.ANNEALED, Method.IMPORTANCE).astype(object)
    error = np.where(place % 3 == 2, 0.1, 0.01)
    if rows > 1:
        error[1], method[1] = 0.0, Method.QUADRATURE
    khat = np.where(place % 10 == 0, 0.9, 0.25)
    return evidence_of(np.linspace(-90.0, -10.0, rows), standard_error=error, method=method, khat=khat)


def findings(name: str = "overfitting") -> tuple[Finding, ...]:
    """Return a finding of each kind, the problem last."""
    return (
        Finding("collapse", Verdict.FINE, "active units", 3.0, 1.0, "The latents carry something."),
        Finding("ranks", Verdict.UNKNOWN, "nothing", NAN, NAN, "Too few rows."),
        Finding(name, Verdict.OVERFITTING, "difference", 3.4567, 1.0, f"Fewer epochs: {name}."),
    )


def health_of(counts: np.ndarray, coverage: np.ndarray | None = None, pit: np.ndarray | None = None) -> Health:
    """Return the health of a fit with these ranks of simulated latents (k, bins), and these covered cells (d, 2)."""
    total, latent = int(counts[0].sum()), len(counts)
    nothing = np.zeros(latent)
    return Health(
        findings=findings(),
        kl_per_dimension=nothing,
        information_per_dimension=nothing,
        information=0.0,
        aggregated_kl=0.0,
        active=np.ones(latent, bool),
        marginals=np.zeros((latent, 3)),
        encoder_histogram=counts / max(total, 1),
        encoder_spread=nothing,
        encoder_bias=nothing,
        decoder_histogram=(np.full(20, 0.05) if pit is None else pit) if coverage is not None else None,
        coverage=coverage,
        noise_ratio=None,
        prior_auc=0.5,
        samples_auc=0.5,
        energy=0.0,
        sample_distances=None,
        held_out_distances=None,
        n_rows=100,
        n_simulated=total,
    )


def rank_counts(latent: int) -> np.ndarray:
    """Return ranks too full at both ends in dimension 0 alone."""
    counts = np.full((latent, 10), 100)
    counts[0] = [300, 100, 50, 25, 25, 25, 25, 50, 100, 300]
    return counts


def coverage_of(columns: int) -> np.ndarray:
    """Return the coverage of columns of which the last is never covered."""
    coverage = np.tile([0.5, 0.9], (columns, 1)) + np.linspace(0, 0.02, columns)[:, None]
    coverage[-1] = [0.0, 0.25]
    return coverage


def simple_models(name: str = "full Gaussian", n: int = 60) -> Comparison:
    """Return a simple model that wins, the fitted one, and one that loses, and one that does so beyond any axis."""
    own = -51.25 + 0.5 * pattern(n)
    rows = {
        THIS_MODEL: own,
        name: own + 1.25 + 0.11 * pattern(n, 2),
        "factor analysis": own - 1.25 + 0.2 * pattern(n, 3),
        "kernel density": -1e6 + 1e5 * pattern(n, 4),
    }
    return Comparison(tuple(rows), np.stack(list(rows.values())), np.zeros((4, n)))


def compared(models: int = 3, rows: int = 40, name: str = "model") -> Comparison:
    """Return models of which the second is best, each further one below it, one row in four preferring them."""
    step = np.where(np.arange(rows) % 4 == 0, 1.0, -3.0)
    # No two rows alike to the bit: such rows would share their noise.
    best = -50.0 + (0.5 * pattern(rows) if rows > 1 else np.zeros(rows)) + 1e-9 * np.arange(rows)
    values = np.stack([best + step * (0 if place == 1 else 1 + abs(place - 1)) for place in range(models)])
    return Comparison(tuple(f"{name} {place}" for place in range(models)), values, np.full(values.shape, 0.0759))


def trusted(found: Evaluation, *, name: str | None = None, real: bool = True) -> Evaluation:
    """Return `found` with every check; `name` stands wherever text from outside can."""
    named = () if name is None else (name,)
    latent, columns = found.latents.mean.shape[1], len(found.modelled_names)
    return replace(
        found,
        unit="nats a row, the log of a probability" if name is None else name,
        evidence=flagged_evidence(found.evidence.n_rows),
        health=replace(health_of(rank_counts(latent), coverage_of(columns)), findings=findings(*named)),
        bracket=bracket(),
        real_bracket=real_bracket() if real else None,
        gap=gap((1.3, 0.12), (2.6, 0.2), 20),
        gap_of_training_rows=gap((1.25, 0.05), (0.25, 0.02), 40),
        advice=("Refine q." if name is None else name,),
        comparison=simple_models(*named),
        details={"full Gaussian": "one covariance", "factor analysis": "3 factors"} if name is None else {name: name},
    )


def unknown(found: Evaluation) -> Evaluation:
    """Return `found` with every check made, but not one number known."""
    rows, nothing = found.evidence.n_rows, np.full(1, NAN)
    lost = np.full(rows, NAN)
    of_nothing = evidence_of(lost, lost, standard_error=lost, khat=np.full(rows, -np.inf))
    columns = len(found.modelled_names)
    health = health_of(np.zeros((2, 10)), np.full((columns, 2), NAN), np.zeros(20))
    return replace(
        found,
        evidence=of_nothing,
        health=replace(health, findings=()),
        bracket=Bracket(nothing, nothing, 100, 16),
        real_bracket=Bracket(nothing, nothing, 100, 16, nothing),
        gap=Gap(evidence_of(nothing, nothing), nothing, nothing, nothing, nothing),
        comparison=Comparison((THIS_MODEL, "a", "b"), np.array([[NAN], [NAN], [-np.inf]]), np.zeros((3, 1))),
    )
