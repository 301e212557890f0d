"""Checks of the latent space: whether it carries information, and whether the prior fits what the encoder gives."""

import dataclasses
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from tightbound.evidence.diagnostics.draws import MIXTURE_ROWS, Drawn
from tightbound.evidence.diagnostics.findings import FEWEST_ROWS, Finding, Verdict, unknown
from tightbound.evidence.latents import Latents

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
