"""Where the slack of the bound comes from: the family of q, or the network that picks a member of it."""

import dataclasses
from collections.abc import Callable
from typing import Any, final

import numpy as np
from jaxtyping import PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.automatic import TOLERANCE, log_evidence
from tightbound.evidence.result import Evidence, Mean, mean_over_rows
from tightbound.evidence.weights import importance_evidence
from tightbound.learn import AbstractInference, Refinement
from tightbound.model import GenerativeModel
from tightbound.model.streams import Stream

SEARCH = Refinement(400, n_samples=16, tolerance=0.0)
"""The inner loop whose end is taken for the best q of the family: on MNIST, 100 steps with 4 draws are within 0.04 nats
of it."""
MATTERS = 0.5
"""Nats a row from which a part of the gap is worth advice: what a change of prior or family usually brings."""
_ELBO_DRAWS = 500


@final
@dataclasses.dataclass(frozen=True, repr=False)
class Gap:
    """log p(x) - ELBO of some rows, in its two parts; nats a row.

    log p(x) - ELBO(q) = [log p(x) - ELBO(q*)] + [ELBO(q*) - ELBO(q)], with q* the best member of q's family for the
    row: the *approximation* gap, which only another family can close, and the *amortisation* gap, which one that is
    found for each row would close. Source: Cremer, Li and Duvenaud (2018), equation 5.
    """

    evidence: Evidence
    """log p(x), and the ELBO of the model's own q."""
    best_elbo: NDArray[np.float64]
    """(n,) ELBO(q*), an estimate of the best that a search found."""
    best_elbo_standard_error: NDArray[np.float64]
    elbo: NDArray[np.float64]
    """(n,) ELBO(q)."""
    elbo_standard_error: NDArray[np.float64]

    def shifted(self, by: NDArray[np.float64]) -> "Gap":
        """The same with `by` (n,) nats added to log p(x) and both ELBOs: the log Jacobian of a change of units."""
        return dataclasses.replace(
            self, evidence=self.evidence.shifted(by), best_elbo=self.best_elbo + by, elbo=self.elbo + by
        )

    @property
    def approximation(self) -> NDArray[np.float64]:
        """(n,) log p(x) - ELBO(q*)."""
        return self.evidence.log_evidence - self.best_elbo

    @property
    def amortisation(self) -> NDArray[np.float64]:
        """(n,) ELBO(q*) - ELBO(q)."""
        return self.best_elbo - self.elbo

    @property
    def total(self) -> NDArray[np.float64]:
        """(n,) log p(x) - ELBO(q): the sum of the two."""
        return self.evidence.log_evidence - self.elbo

    def mean_approximation(self) -> Mean:
        """Over rows, with both errors."""
        return mean_over_rows(self.approximation, np.hypot(self.evidence.standard_error, self.best_elbo_standard_error))

    def mean_amortisation(self) -> Mean:
        """Over rows, with both errors."""
        return mean_over_rows(self.amortisation, np.hypot(self.best_elbo_standard_error, self.elbo_standard_error))

    def mean_total(self) -> Mean:
        """Over rows, with both errors."""
        return mean_over_rows(self.total, np.hypot(self.evidence.standard_error, self.elbo_standard_error))

    @property
    def how(self) -> str:
        """The method in words."""
        search = f"the best q of the family by {SEARCH.steps} steps of an inner loop for every row"
        return f"{search}, both bounds by {_ELBO_DRAWS} draws"

    def __repr__(self) -> str:
        parts = {
            "log p(x) - ELBO": self.mean_total(),
            "approximation gap": self.mean_approximation(),
            "amortisation gap": self.mean_amortisation(),
        }
        return "\n".join([f"{name:<18} {mean}" for name, mean in parts.items()])


def decompose_gap(
    p: GenerativeModel,
    q: AbstractInference,
    x: NDArray[Any],
    observed: NDArray[np.bool_] | None = None,
    *,
    evidence: Evidence | None = None,
    tolerance: float = TOLERANCE,
    patience: float | None = None,
    key: PRNGKeyArray,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Gap:
    """The slack of the bound on these rows, in its two parts.

    log p(x) as by `log_evidence`; ELBO(q*) after `SEARCH` from q, for every row; both ELBOs by 500 draws.

    Args: as for `log_evidence`; evidence: of these rows, where it is known already.

    Returns a `Gap`.
    """
    if evidence is None:
        options: dict[str, Any] = {"tolerance": tolerance, "patience": patience, "on_progress": on_progress}
        evidence = log_evidence(p, q, x, observed, key=key, **options)

    def elbo(of: AbstractInference, words: str, stream: Stream) -> Evidence:
        def progress(done: int) -> None:
            if on_progress is not None:
                on_progress(words, done, len(x))

        options: dict[str, Any] = {"key": stream.of(key), "on_progress": progress}
        return importance_evidence(p, of, x, observed, n_samples=_ELBO_DRAWS, **options)

    own = elbo(q, "bound of q", Stream.OWN_BOUND)
    best = elbo(q.refined(p, SEARCH), "best q of the family", Stream.BEST_OF_FAMILY)
    return Gap(evidence, best.elbo, best.elbo_standard_error, own.elbo, own.elbo_standard_error)


def advice(held_out: Gap, train: Gap | None = None, *, family: str = "q's family") -> tuple[str, ...]:
    """What follows from the parts, a sentence each, those that matter alone.

    Args:
        held_out: of rows that the model was not fitted to (or of the rows at hand).
        train: of rows that it was fitted to.
        family: words for the family of q, such as "diagonal".
    """
    total, near, network = held_out.mean_total(), held_out.mean_approximation(), held_out.mean_amortisation()
    said = []
    if _matters(network):
        said.append(
            f"Amortisation costs {_words(network)}: use semi-amortised inference, score with a refined q, or use a "
            "larger encoder."
        )
    if _matters(near):
        said.append(f"The family ({family}) costs {_words(near)}: use a flow (iaf) or a full covariance for q.")
    if train is not None:
        seen = train.mean_amortisation()
        more = network.value - seen.value
        error = float(np.hypot(_spread(network), _spread(seen)))
        if more > max(MATTERS, 3 * error):
            said.append(
                f"The encoder is overfitted: amortisation costs held-out rows {more:.2f} ± {error:.2f} nats more than "
                "training rows; use a smaller encoder, more data, or semi-amortised inference."
            )
    if not said:
        said.append(
            f"The bound is {_words(total)} below log p(x), and no part of that is above {MATTERS} nats with certainty: "
            "a better q has little to give."
        )
    return tuple(said)


def _matters(mean: Mean) -> bool:
    return mean.value > MATTERS and mean.value > 3 * _spread(mean)


def _spread(mean: Mean) -> float:
    return mean.standard_error if np.isfinite(mean.standard_error) else mean.monte_carlo_error


def _words(mean: Mean) -> str:
    return f"{mean.value:.2f} ± {_spread(mean):.2f} nats a row"
