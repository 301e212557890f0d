"""Content of the sections on trust, for the tests: one case with round numbers, one where nothing is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tightbound.report import (
    BaselineContent,
    BaselineRow,
    BracketContent,
    CalibrationContent,
    ComparisonContent,
    GapContent,
    GapGroup,
    HealthContent,
    HealthFinding,
    PredictiveContent,
    RankContent,
    RealBracket,
    ReportContent,
    RowEvidenceContent,
)

NAN = float("nan")


def bracket(*, real: bool = True) -> BracketContent:
    """Return 8 simulated rows 0.1 to 0.8 nats wide, and 5 real ones of which one did not converge."""
    lower = np.linspace(-60.0, -40.0, 8)
    width = np.array([0.4, 0.1, 0.8, 0.3, 0.2, 0.7, 0.5, 0.6])
    approximate = RealBracket(lower[:5], lower[:5] + 2 * width[:5], 0.72, 0.24, np.array([1, 1, 0, 1, 1], dtype=bool))
    return BracketContent(lower, lower + width, 0.45, 0.0866, "64 chains", approximate if real else None)


def gap(name: str = "held-out rows") -> GapContent:
    """Return two groups, the second losing most by amortisation."""
    groups = (
        GapGroup("training rows", 1.25, 0.05, 0.25, 0.02, 1.5, 0.06, 40),
        GapGroup(name, 1.3, 0.1, 2.6, 0.2, 3.9, 0.2, 20),
    )
    return GapContent(groups, (f"Refine q for {name}.",), "200 steps a row")


def row_evidence(rows: int, name: str = "heavy-tailed") -> RowEvidenceContent:
    """Return two rows in three by importance sampling, the rest annealed; every tenth flagged, row 1 exact."""
    place = np.arange(rows)
    method = np.where(place % 3 == 2, "annealed", "importance").astype(object)
    error = np.where(place % 3 == 2, 0.1, 0.01)
    if rows > 1:
        error[1], method[1] = 0.0, "quadrature"
    flags = np.where(place % 10 == 0, name, "").astype(object)
    return RowEvidenceContent(error, method, flags, np.full(rows, 0.25), np.full(rows, 5000), meanings=((name, name),))


def calibration(latent: int, names: tuple[str, ...]) -> CalibrationContent:
    """Return ranks too full at both ends in dimension 0 alone, and a column that is never covered."""
    counts = np.full((latent, 10), 100)
    counts[0] = [300, 100, 50, 25, 25, 25, 25, 50, 100, 300]
    coverage = np.tile([0.5, 0.9], (len(names), 1)) + np.linspace(0, 0.02, len(names))[:, None]
    coverage[-1] = [0.0, 0.25]
    return CalibrationContent(
        RankContent(counts), PredictiveContent(np.full(20, 50), coverage, names, 100), (f"{names[0]} is calibrated.",)
    )


def health(name: str = "overfitting") -> HealthContent:
    """Return a finding of each kind, the problem last."""
    return HealthContent(
        (
            HealthFinding("collapse", "fine", "active units", 3, 1, "The latents carry something."),
            HealthFinding("ranks", "not checked", "", None, None, "Too few rows.", is_unknown=True),
            HealthFinding(name, "overfits", "difference", 3.4567, 1.0, f"Fewer epochs: {name}.", is_problem=True),
        )
    )


def baselines(name: str = "full Gaussian") -> BaselineContent:
    """Return a simple model that wins, the fitted one, and one that loses beyond any axis."""
    ranking = (
        BaselineRow(name, -50.0, 0.5, 1.25, 0.11, name),
        BaselineRow("autoencoder", -51.25, 0.5, 0.0, None, "", is_model=True),
        BaselineRow("factor analysis", -52.5, 0.5, -1.25, 0.2, "3 factors"),
        BaselineRow("kernel density", -1e6, 1e5, -1e6, 1e5, "overfits"),
    )
    return BaselineContent(ranking, f"{name} wins.", 60)


def trusted(content: ReportContent, *, name: str | None = None, real: bool = True) -> ReportContent:
    """Return `content` with everything optional; `name` stands wherever text from outside can."""
    named = () if name is None else (name,)
    return replace(
        content,
        unit="nats a row, the log of a probability" if name is None else name,
        health=health(*named),
        bracket=bracket(real=real),
        gap=gap(*named),
        row_evidence=row_evidence(len(content.data), *named),
        calibration=calibration(content.latent_means.shape[1], content.names),
        baselines=baselines(*named),
    )


def unknown(content: ReportContent) -> ReportContent:
    """Return `content` with everything optional there, but not one number known."""
    rows, nothing = len(content.data), np.full(1, NAN)
    real = RealBracket(nothing, nothing, NAN, None, np.zeros(1, dtype=bool))
    coverage = np.full((len(content.names), 2), NAN)
    return replace(
        content,
        health=HealthContent(()),
        bracket=BracketContent(nothing, nothing, NAN, NAN, "", real),
        gap=GapContent((GapGroup("rows", NAN, NAN, NAN, None, NAN, NAN, 0),)),
        row_evidence=RowEvidenceContent(
            np.full(rows, NAN), np.full(rows, "_q"), np.full(rows, "not finite"), np.full(rows, -np.inf)
        ),
        calibration=CalibrationContent(
            RankContent(np.zeros((2, 10))), PredictiveContent(np.zeros(10), coverage, content.names)
        ),
        baselines=BaselineContent(
            (
                BaselineRow("a", NAN, NAN, NAN, NAN),
                BaselineRow("b", -np.inf, NAN, -np.inf, NAN),
                BaselineRow("_model", NAN, NAN, 0.0, None, is_model=True),
            )
        ),
    )


def comparison(models: int = 3, rows: int = 40, name: str = "model") -> ComparisonContent:
    """Return models of which the second is best, each further one below it, one row in four preferring them."""
    best = min(1, models - 1)
    others = [place for place in range(models) if place != best]
    pattern = np.where(np.arange(rows) % 4 == 0, 1.0, -3.0)
    row_differences = np.array([pattern * (1 + abs(place - best)) for place in others]).reshape(len(others), rows)
    difference, error = np.zeros(models), np.full(models, NAN)
    difference[others] = row_differences.mean(axis=1)
    if rows > 1:
        error[others] = row_differences.std(axis=1, ddof=1) / np.sqrt(rows)
    return ComparisonContent(
        names=tuple(f"{name} {place}" for place in range(models)),
        mean=-50.0 + difference,
        standard_error=np.full(models, 0.5),
        monte_carlo_error=np.full(models, 0.012),
        best=best,
        difference=difference,
        difference_standard_error=error,
        row_differences=row_differences,
        verdicts=(f"{name} {best} is best.",),
        summary=f"{models} models.",
    )
