"""Is q what it should be: calibrated, in use, and together as the prior says?"""

import dataclasses
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtri

from tightbound.evidence.diagnostics.draws import MIXTURE_ROWS, Drawn
from tightbound.evidence.diagnostics.findings import FEWEST_ROWS, STANDARD_ERRORS, Finding, Verdict, unknown
from tightbound.evidence.rows import Latents

N_BINS = 20
NARROW_ABOVE = 1.6
"""Spread of the normal scores above which q is too narrow, over all active latents together. A Gaussian q that is 1.6
times too narrow costs the bound (1/1.6^2 - 1 + 2 log 1.6) / 2 = 0.17 nats a latent. A good mean-field q is narrow by
nature: of two latents with posterior correlation r by 1 / sqrt(1 - r^2), which is 1.6 at r = 0.78."""
WIDE_BELOW = 1 / 1.4
"""Spread below which q is too wide, which no good mean-field q is; it costs (1.4^2 - 1 - 2 log 1.4) / 2 = 0.14 nats."""
ONE_NARROW_ABOVE = 2.5
"""The same for the worst single latent, which costs 0.5 nats (r = 0.92)."""
ONE_WIDE_BELOW = 0.5
"""The same for the worst single latent, which costs 0.8 nats."""
BIASED_ABOVE = 0.5
"""Median score of the worst latent, in standard deviations of q, above which it is biased: 0.5^2 / 2 = 0.12 nats."""
GAP_ABOVE = 0.1
"""Nats by which q must lose more on new rows than on training rows: their density is understated by 10 % the more."""
_MAD = 1.482602218505602
"""A standard Gaussian's standard deviation over its median absolute deviation."""
_MAD_ERROR, _MEDIAN_ERROR = 1.17, 1.25
"""Standard errors times sqrt(n) of the scaled median absolute deviation and the median of standard Gaussians."""


@final
@dataclasses.dataclass(frozen=True)
class Calibration:
    """How simulated latents lie in q, by dimension."""

    histogram: NDArray[Any]
    """(k, N_BINS) shares; flat when q is right."""
    spread: NDArray[Any]
    """(k,) 1.48 median |score - median score|; 1 is right; at most about 3.8."""
    bias: NDArray[Any]
    """(k,) median score, in standard deviations of q."""
    pooled: float
    """Spread over the active dimensions together; NaN without one."""


def calibration(pit: NDArray[Any], active: NDArray[np.bool_]) -> Calibration:
    """Spread and bias of the normal scores Phi^-1(pit) of simulated latents, pit (m, k) as in `Simulated`.

    Ranks, not (z* - mean) / sd: they are uniform for a right q of any shape; medians keep single rows from deciding.
    Source: Cook, Gelman and Rubin (2006); Talts, Betancourt, Simpson, Vehtari and Gelman (2018).
    """
    pit = np.asarray(pit, np.float64)
    score = ndtri(np.clip(pit, 1e-6, 1 - 1e-6))
    bias = np.median(score, axis=0)
    deviation = np.abs(score - bias)
    histogram = np.stack([np.histogram(column, N_BINS, (0, 1))[0] for column in pit.T]) / len(pit)
    pooled = _MAD * float(np.median(deviation[:, active])) if active.any() else float("nan")
    return Calibration(histogram, _MAD * np.median(deviation, axis=0), bias, pooled)


def encoder_calibration(found: Calibration, active: NDArray[np.bool_], n: int) -> Finding:
    """ENCODER_TOO_NARROW, ENCODER_TOO_WIDE or ENCODER_BIASED, from n simulated rows and over active latents alone.

    An idle latent has q = p(z), which is always right and would hide the others.
    """
    name = "spread of simulated latents in q (1 is right)"
    if not active.any():
        return unknown("encoder", name, NARROW_ABOVE, "The encoder cannot be judged: no latent is active.")
    units = np.flatnonzero(active)
    off = units[np.argmax(np.abs(found.bias[units]))]
    bias, error = float(found.bias[off]), _MEDIAN_ERROR / np.sqrt(n)
    if abs(bias) > max(BIASED_ABOVE, (STANDARD_ERRORS + 1) * error):
        sentence = (
            f"The encoder is biased: of rows drawn from the model, z_{off + 1} typically lies {bias:+.2f} standard "
            "deviations from where q puts it; train longer, or refine q row by row."
        )
        return Finding("encoder", Verdict.ENCODER_BIASED, "bias of q, sd", bias, BIASED_ABOVE, sentence)
    spread, narrow, wide, where = _decisive(found, units)
    significant = abs(np.log(spread)) > STANDARD_ERRORS * _MAD_ERROR / np.sqrt(n)
    figure = f"of rows drawn from the model, {where} spread {spread:.2f} times as far as q says"
    if significant and spread > narrow:
        verdict = Verdict.ENCODER_TOO_NARROW
        sentence = (
            f"The encoder is too sure of the latents: {figure}, or it is off by different amounts in different rows; "
            "use a richer posterior, or refine q row by row."
        )
    elif significant and spread < wide:
        verdict = Verdict.ENCODER_TOO_WIDE
        sentence = f"The encoder is too unsure of the latents: {figure}; train longer, or refine q row by row."
    else:
        verdict = Verdict.FINE
        sentence = f"The encoder is about as sure as it should be: {figure}."
    return Finding("encoder", verdict, name, spread, narrow if spread >= 1 else wide, sentence)


def _decisive(found: Calibration, units: NDArray[np.int64]) -> tuple[float, float, float, str]:
    """Spread, both thresholds and name of all active latents, unless those pass and a single one does not."""
    tiny = 1e-6
    pooled, each = max(found.pooled, tiny), np.maximum(found.spread[units], tiny)
    i = int(np.argmax(np.abs(np.log(each))))
    if WIDE_BELOW <= pooled <= NARROW_ABOVE and not ONE_WIDE_BELOW <= each[i] <= ONE_NARROW_ABOVE:
        return float(each[i]), ONE_NARROW_ABOVE, ONE_WIDE_BELOW, f"the values of z_{units[i] + 1}"
    return pooled, NARROW_ABOVE, WIDE_BELOW, "the active latents" if len(units) > 1 else "the active latent's values"


def encoder_overfitting(amortisation_train: NDArray[Any], amortisation_held_out: NDArray[Any]) -> Finding:
    """ENCODER_OVERFITTED when q loses more on held-out rows than on training rows: by 0.1 nats and 3 standard errors.

    Args:
        amortisation_train, amortisation_held_out: (n,) and (m,) nats a row that the bound gains when q is optimised
            for the row itself.

    Source: Cremer, Li and Duvenaud (2018); Wu, Burda, Salakhutdinov and Grosse (2017).
    """
    name = "amortisation gap of held-out minus training rows, nats a row"
    train = amortisation_train[np.isfinite(amortisation_train)]
    held_out = amortisation_held_out[np.isfinite(amortisation_held_out)]
    if min(len(train), len(held_out)) < 2:
        why = (
            f"The encoder's overfitting needs the gaps of at least 2 training and 2 held-out rows; got {len(train)} "
            f"and {len(held_out)}."
        )
        return unknown("encoder overfitting", name, GAP_ABOVE, why)
    difference = float(held_out.mean() - train.mean())
    error = float(np.sqrt(train.var(ddof=1) / len(train) + held_out.var(ddof=1) / len(held_out)))
    figure = f"it loses {held_out.mean():.2f} nats a row on held-out rows and {train.mean():.2f} on training rows"
    if difference > max(GAP_ABOVE, STANDARD_ERRORS * error):
        verdict = Verdict.ENCODER_OVERFITTED
        sentence = f"The encoder is overfitted: {figure}; refine q row by row on new rows, or train it on more rows."
    else:
        verdict = Verdict.FINE
        sentence = f"The encoder serves new rows as well as those it was trained on: {figure}."
    return Finding("encoder overfitting", verdict, name, difference, GAP_ABOVE, sentence)


INFORMATION_BELOW = 0.05
"""Nats of I(x; z) below which the latents count as collapsed: were all of it in one latent, the encoder would explain
1 - exp(-2 * 0.05) = 10 % of that latent's variance, and p(x) could gain no more than these 0.05 nats a row from z."""
PRIOR_AUC_ABOVE = 0.6
"""AUC between the encoder's latents and the prior's above which they do not match: it is that of a shift by 0.36
standard deviations, where 14 % of what is drawn from the prior lies where the encoder puts nothing."""
_TINY = 1e-12


@final
@dataclasses.dataclass(frozen=True)
class Information:
    """How much z says about x under q, in nats."""

    per_dimension: NDArray[Any]
    """(k,) I(x; z_j)."""
    total: float
    """I(x; z)."""
    aggregated_kl: float
    """KL(aggregated posterior, prior) = mean KL(q(z | x), prior) - I(x; z)."""


def information(latents: Latents, drawn: Drawn, log_mixture: NDArray[Any], *, discrete: bool) -> Information:
    """I(x; z) = E_x E_q [log q(z | x) - log q(z)], with q(z) the mixture of at most 512 rows' posteriors.

    Args:
        latents: of all rows; drawn: one draw of q for every row; log_mixture: (n,) log q(z) of the first n draws, nats.
        discrete: whether z is made of zeros and ones.

    Those of single latents take every q(z_j | x) as a Gaussian with its mean and variance (Bernoulli where discrete).
    Source: Hoffman and Johnson (2016).
    """
    n = len(log_mixture)
    total = max(float(np.mean(drawn.log_q[:n] - log_mixture)), 0.0)
    each = [
        _one_dimension(drawn.z[:n, j], latents.mean[:n, j], latents.sd[:n, j], discrete)
        for j in range(latents.mean.shape[1])
    ]
    return Information(np.array(each), total, max(float(latents.total_kl.mean()) - total, 0.0))


def _one_dimension(z: NDArray[Any], mean: NDArray[Any], sd: NDArray[Any], discrete: bool) -> float:
    if discrete:
        probability = np.clip(mean, _TINY, 1 - _TINY)
        each = np.where(z[:, None] > 0.5, np.log(probability)[None, :], np.log1p(-probability)[None, :])
    else:
        sd = np.maximum(sd, _TINY)
        each = -0.5 * ((z[:, None] - mean[None, :]) / sd[None, :]) ** 2 - np.log(sd)[None, :]
    mixture = logsumexp(each, axis=1) - np.log(len(z))
    return max(float(np.mean(np.diagonal(each) - mixture)), 0.0)


def collapse(active: NDArray[np.bool_], found: Information, n_rows: int) -> Finding:
    """COLLAPSED when no unit is active or I(x; z) is below INFORMATION_BELOW; some idle units are no fault.

    Source: Bowman et al. (2016) for the fault; Burda, Grosse and Salakhutdinov (2016) for active units.
    """
    k, n_active = len(active), int(np.sum(active))
    units = f"{n_active} of {k} latents {'is' if n_active == 1 else 'are'} active"
    figure = f"{units} and z carries {found.total:.2f} nats of information on a row"
    if n_active == 0 or found.total < INFORMATION_BELOW:
        verdict = Verdict.COLLAPSED
        sentence = f"The latents collapsed: {figure}; lower the weight on the KL, warm it up, or use free bits."
    else:
        verdict = Verdict.FINE
        idle = "" if n_active == k else "; the idle ones do no harm"
        limit = np.log(min(n_rows, MIXTURE_ROWS))
        more = f" (at least; {limit:.1f} can be seen with these rows)" if found.total > limit - 0.5 else ""
        sentence = f"The latents are in use: {figure}{more}{idle}."
    return Finding("collapse", verdict, "I(x; z), nats a row", found.total, INFORMATION_BELOW, sentence)


def prior_match(
    z: NDArray[Any], prior: NDArray[Any], *, rng: np.random.Generator
) -> tuple[Finding, float, NDArray[Any]]:
    """PRIOR_MISMATCH when a classifier tells z ~ q(z | x_i) (n, k) from z ~ p(z) (m, k) with a high AUC.

    Returns the finding, the AUC and the (k, 3) mean, standard deviation and Kolmogorov-Smirnov distance by dimension.
    Source: Hoffman and Johnson (2016) for the aggregated posterior; Lopez-Paz and Oquab (2017) for the test.
    """
    marginals = _marginals(z, prior)
    name = "AUC of a classifier, q's latents against the prior's"
    if len(z) < FEWEST_ROWS:
        why = f"The prior cannot be judged from {len(z)} rows; give at least {FEWEST_ROWS}."
        return unknown("prior", name, PRIOR_AUC_ABOVE, why), float("nan"), marginals
    from tightbound.evidence.diagnostics.twosample import separation  # scikit-learn takes half a second to import

    found = separation(z, prior, rng=rng)
    worst = int(np.argmax(marginals[:, 2]))
    mean, sd, distance = marginals[worst]
    where = (
        f"the furthest off is z_{worst + 1} with mean {mean:+.2f} and sd {sd:.2f} in the prior's units "
        f"(Kolmogorov-Smirnov distance {distance:.2f})"
    )
    if found.is_above(PRIOR_AUC_ABOVE):
        verdict = Verdict.PRIOR_MISMATCH
        sentence = (
            f"The prior does not match the data's latents: a classifier tells them apart with AUC {found.auc:.2f}; "
            f"{where}; use a two-stage or mixture prior."
        )
    else:
        verdict = Verdict.FINE
        sentence = f"The prior matches the latents of the data: a classifier's AUC is {found.auc:.2f}; {where}."
    return Finding("prior", verdict, name, found.auc, PRIOR_AUC_ABOVE, sentence), found.auc, marginals


def _marginals(z: NDArray[Any], prior: NDArray[Any]) -> NDArray[Any]:
    sd = np.maximum(prior.std(axis=0), _TINY)
    mean = (z.mean(axis=0) - prior.mean(axis=0)) / sd
    from scipy.stats import ks_2samp  # a second to import

    distances = [ks_2samp(z[:, j], prior[:, j], method="asymp").statistic for j in range(z.shape[1])]
    return np.stack([mean, z.std(axis=0) / sd, np.array(distances)], axis=1)
