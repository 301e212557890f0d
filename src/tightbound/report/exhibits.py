"""What the report shows of evidence and an examination: their numbers as the content of its sections."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightbound.estimator.evaluation import THIS_MODEL, Examination
from tightbound.evidence import Bracket, Comparison, Evidence, Gap, Health, Mean, Reliability
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
    RowEvidenceContent,
)


def known(error: float) -> float | None:
    """An error, or None where it is not known."""
    return None if error != error else error


def row_evidence(evidence: Evidence) -> RowEvidenceContent:
    """How sure each row's log p(x) is."""
    flags = evidence.reliability
    raised = [flag for flag in Reliability if flag is not Reliability.GOOD and (flags == flag).any()]
    return RowEvidenceContent(
        standard_error=evidence.standard_error,
        method=np.array([method.value for method in evidence.method], dtype=object),
        flags=np.array(["" if flag is Reliability.GOOD else words(flag.name) for flag in flags], dtype=object),
        khat=evidence.khat,
        work=evidence.work,
        meanings=tuple((words(flag.name), flag.value) for flag in raised),
    )


def bracket(found: Examination) -> BracketContent | None:
    """Both bounds, of simulated and of real rows."""
    simulated, real = found.bracket, found.real_bracket
    if simulated is None:
        return None
    gap = simulated.gap()
    return BracketContent(
        simulated.lower, simulated.upper, gap.value, known(gap.standard_error), simulated.how, _real(real)
    )


def _real(real: Bracket | None) -> RealBracket | None:
    if real is None:
        return None
    gap = real.gap()
    return RealBracket(real.lower, real.upper, gap.value, known(gap.standard_error), real.converged)


def gap(found: Examination) -> GapContent | None:
    """The parts of the gap, of held-out and of training rows, with what follows."""
    if found.gap is None:
        return None
    groups = [_group("rows", found.gap)]
    if found.gap_of_training_rows is not None:
        groups = [_group("held-out rows", found.gap), _group("training rows", found.gap_of_training_rows)]
    how = "the best q of the family by 400 steps of an inner loop for every row, both bounds by 500 draws"
    return GapContent(tuple(groups), found.advice, how)


def _group(name: str, of: Gap) -> GapGroup:
    near, network, total = of.mean_approximation(), of.mean_amortisation(), of.mean_total()
    return GapGroup(
        name=name,
        approximation=near.value,
        approximation_standard_error=known(near.standard_error),
        amortisation=network.value,
        amortisation_standard_error=known(network.standard_error),
        total=total.value,
        total_standard_error=known(total.standard_error),
        rows=total.n_rows,
    )


def health(found: Examination) -> HealthContent | None:
    """Every check with its verdict."""
    if found.health is None:
        return None
    return HealthContent(
        tuple(
            HealthFinding(
                check=each.check,
                verdict=words(each.verdict.name),
                statistic=each.statistic,
                value=known(each.value),
                threshold=known(each.threshold),
                sentence=each.sentence,
                is_problem=each.is_problem,
                is_unknown=each.verdict.name == "UNKNOWN",
            )
            for each in found.health.findings
        )
    )


def calibration(found: Examination, names: tuple[str, ...]) -> CalibrationContent | None:
    """Ranks of simulated latents in q, and where held-out cells lie in the decoder's distributions."""
    fit = found.health
    if fit is None:
        return None
    said = tuple(each.sentence for each in fit.findings if each.check in ("encoder", "decoder"))
    return CalibrationContent(_ranks(fit), _predictive(fit, names), said)


def _ranks(fit: Health) -> RankContent:
    counts = np.rint(fit.encoder_histogram * fit.n_simulated).astype(int)
    # An idle latent's ranks are uniform by definition, and would hide the others'.
    return RankContent(counts, (counts[fit.active] if fit.active.any() else counts).sum(axis=0))


def _predictive(fit: Health, names: tuple[str, ...]) -> PredictiveContent | None:
    if fit.decoder_histogram is None or fit.coverage is None:
        return None
    # Cells of one row go together: the band of chance is that of as many values as there are rows.
    return PredictiveContent(fit.decoder_histogram * fit.n_rows, fit.coverage, names, fit.n_rows)


def baselines(found: Examination) -> BaselineContent | None:
    """This model among simple ones, the best first."""
    ranked = found.comparison
    if ranked is None:
        return None
    order = sorted(ranked.names, key=lambda name: -ranked.mean(name).value)
    place = order.index(THIS_MODEL) + 1
    sentence = found.warning or f"This model ranks {place} of {len(order)} by mean log p(x) on the same rows."
    left_out = " ".join(found.left_out)
    rows = tuple(_baseline(ranked, name, found.details.get(name, "")) for name in order)
    return BaselineContent(rows, f"{sentence} {left_out}".strip(), ranked.n_rows)


def _baseline(ranked: Comparison, name: str, detail: str) -> BaselineRow:
    mean, against = ranked.mean(name), ranked.difference(name, THIS_MODEL)
    return BaselineRow(
        name,
        mean.value,
        known(mean.standard_error),
        against.value,
        known(against.standard_error),
        detail,
        name == THIS_MODEL,
    )


def comparison(ranked: Comparison, *, title: str, summary: str, unit: str) -> ComparisonContent:
    """The page of a comparison."""
    differences, means = ranked.differences(), ranked.means
    best = ranked.best
    with np.errstate(invalid="ignore"):  # two rows without density: their difference is not known
        others = [ranked.log_evidence[i] - ranked.log_evidence[best] for i in range(len(means)) if i != best]
    return ComparisonContent(
        names=ranked.names,
        mean=_column(means, "value"),
        standard_error=_column(means, "standard_error"),
        monte_carlo_error=_column(means, "monte_carlo_error"),
        best=best,
        difference=np.array([each.value for each in differences]),
        difference_standard_error=np.array(
            [np.nan if i == best else each.standard_error for i, each in enumerate(differences)]
        ),
        row_differences=np.stack(others),
        verdicts=tuple(str(each) for i, each in enumerate(differences) if i != best),
        title=title,
        summary=summary,
        unit=unit,
    )


def _column(means: tuple[Mean, ...], name: str) -> NDArray[Any]:
    return np.array([getattr(mean, name) for mean in means], float)


def words(name: str) -> str:
    """The name of an enumeration's member as a person writes it."""
    return name.lower().replace("_", " ")
