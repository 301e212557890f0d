"""A study of `log_evidence` on linear-Gaussian models, whose log p(x) is known: is the error that it reports its error?

Each model has random loadings, noise, and rows of its own; each is scored with a q like that of a good fit, and with
three bad ones. The method is "adaptive", which does not use that the model is linear.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from linear_gaussian import GivenPosterior, LinearGaussian

from tightbound.evidence import Reliability, log_evidence

SHAPES = (
    (2, 10), (2, 100), (5, 20), (5, 300), (8, 15), (10, 40), (20, 60), (20, 784), (30, 100), (50, 784),
)  # fmt: skip
"""(latents, columns)."""
SMALL_SHAPES = ((5, 12),)
EXACT_BELOW = 1e-6
"""A standard error that is rounding: q is exact."""
BAD = ("shifted", "narrow", "wide")
NEAR = 0.1
"""Nats within which an estimate is right, whatever its standard error."""


@dataclass(frozen=True)
class Score:
    """One row of one model."""

    q: str
    latents: int
    columns: int
    difference: float
    """Estimate - log p(x), nats."""
    standard_error: float
    flag: Reliability
    method: str

    @property
    def exact(self) -> bool:
        """Whether the weights had no spread, so that there is no z-score."""
        return self.standard_error < EXACT_BELOW

    @property
    def z(self) -> float:
        """The difference in standard errors."""
        return self.difference / self.standard_error

    @property
    def right(self) -> bool:
        """Within four standard errors, or a tenth of a nat."""
        return abs(self.difference) <= max(4 * self.standard_error, NEAR)

    @property
    def caught(self) -> bool:
        """Right, or flagged."""
        return self.right or self.flag is not Reliability.GOOD


def study(
    n_models: int, shapes: tuple[tuple[int, int], ...], seed: int, *, bad: bool = True, tolerance: float = 0.1
) -> Iterator[Score]:
    """One score a model for each q: "good", then those of `BAD`."""
    for i in range(n_models):
        rng = np.random.default_rng([seed, i])
        latents, columns = shapes[i % len(shapes)]
        model = random_model(rng, columns, latents)
        x = model.sample(rng, 1)
        truth = model.log_p(x)
        good = good_q(model, rng, i)
        for name in ("good", *BAD) if bad else ("good",):
            q = good if name == "good" else bad_q(model, name)
            found = log_evidence(model.p(), q, x, method="adaptive", tolerance=tolerance, key=jax.random.key(seed + i))
            yield Score(
                name,
                latents,
                columns,
                float(found.log_evidence[0] - truth[0]),
                float(found.standard_error[0]),
                found.reliability[0],
                str(found.method[0].value),
            )


def random_model(rng: np.random.Generator, columns: int, latents: int) -> LinearGaussian:
    """Loadings from a tenth of the noise to as large as it, of every column."""
    size = np.exp(rng.uniform(np.log(0.1), 0))
    return LinearGaussian(
        size * rng.normal(size=(columns, latents)), rng.normal(size=columns), float(rng.uniform(0.5, 1.5))
    )


def good_q(model: LinearGaussian, rng: np.random.Generator, i: int) -> GivenPosterior:
    """What a good fit has, in turn: the best mean-field q, one a little off, and a full covariance a little off."""
    q = model.q(diagonal=i % 3 < 2)
    if i % 3 == 0:
        return q
    d = model.W.shape[1]
    off = jnp.asarray(0.1 * rng.normal(size=d)) * _sd(q)
    wide = jnp.asarray(np.exp(rng.normal(0.05, 0.05, size=d)))
    return eqx.tree_at(lambda q: (q.shift, q.scale_tril), q, (off, wide[:, None] * q.scale_tril))


def bad_q(model: LinearGaussian, name: str) -> GivenPosterior:
    """The best mean-field q with every mean two standard deviations off, or a quarter or four times its widths."""
    q = model.q(diagonal=True)
    if name == "shifted":
        return eqx.tree_at(lambda q: q.shift, q, 2 * jnp.asarray(model.s * np.sqrt(np.diag(np.linalg.inv(model.M)))))
    return eqx.tree_at(lambda q: q.scale_tril, q, q.scale_tril * (0.25 if name == "narrow" else 4.0))


def _sd(q: GivenPosterior) -> jax.Array:
    return jnp.sqrt(jnp.sum(q.scale_tril**2, axis=1))


@dataclass(frozen=True)
class Summary:
    """What the issue asks of good fits."""

    n: int
    n_exact: int
    """Scores without a spread, which count as within when they agree to a millionth of a nat."""
    n_within: int
    """Within three of their own standard errors."""
    mean_absolute: float
    """Nats."""
    variance: float
    """Of the z-scores."""
    mean: float
    n_flagged: int


def summary(scores: list[Score]) -> Summary:
    """Of scores of one q."""
    z = np.array([score.z for score in scores if not score.exact])
    exact = [score for score in scores if score.exact]
    return Summary(
        n=len(scores),
        n_exact=len(exact),
        n_within=int(np.sum(np.abs(z) < 3)) + sum(abs(score.difference) < EXACT_BELOW for score in exact),
        mean_absolute=float(np.mean([abs(score.difference) for score in scores])),
        variance=float(np.var(z)) if len(z) else float("nan"),
        mean=float(np.mean(z)) if len(z) else float("nan"),
        n_flagged=sum(score.flag is not Reliability.GOOD for score in scores),
    )
