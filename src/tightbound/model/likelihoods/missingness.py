"""Missing not at random: a model of which cells are observed, p(s | x), beside the model of the cells.

The noise of the missing cells becomes part of the latent, z' = (z, eps) with eps ~ N(0, I): a missing cell has the
value x_j(z, eps_j), an observed one its datum, and

    log p(x_obs, s, z') = log p(x_obs | z) + log p(s | x) + log N(eps) + log p(z),    s_j: cell j is observed.

What `log_prob` returns is then the density of the observed cells *and* of the pattern s, so every bound and estimate
is one of log p(x_obs, s). Source: Ipsen, Mattei and Frellsen (2021), not-MIWAE.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from numpy.typing import ArrayLike

from tightbound.model.distributions import AbstractDistribution, Latent, Mask, Scalar, Vector
from tightbound.model.families import DiagonalGaussianFamily, inverse_positive, positive
from tightbound.model.generative import Decoder, Encoder, GenerativeModel
from tightbound.model.likelihoods.heads import AbstractHead
from tightbound.model.networks.dense import Network, with_output_layer
from tightbound.model.networks.inputs import AbstractInputs

Columns = tuple[int, ...]

_FAR = 100.0  # standard deviations beyond which a value moves no log-odds further


class AbstractMechanism(eqx.Module):
    """p(s | x): the probability that each of some columns is observed, given the values of all cells.

    Columns outside `columns` add nothing: whether they are observed says nothing of their values. Strengths are per
    standard deviation of a column; what standardises is data, without gradient.
    """

    columns: eqx.AbstractVar[Columns]
    """The columns whose missingness is explained."""

    @property
    @abstractmethod
    def reads(self) -> Columns:
        """The columns whose values it depends on."""

    @abstractmethod
    def log_odds(self, x: Vector) -> Float[Array, " m"]:
        """Log-odds of being observed of each of `columns`, for a row without gaps; other columns than `reads` may hold
        anything."""

    @abstractmethod
    def scaled(self, factor: float | Float[Array, ""]) -> "AbstractMechanism":
        """The mechanism with all log-odds times `factor`: 0 makes missingness random, 2 makes it sharper."""

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """log p(s | x) in nats, for a row without gaps; `observed` None: every cell is."""
        log_odds = self.log_odds(x)
        if observed is None:
            return jnp.sum(jax.nn.log_sigmoid(log_odds))
        return jnp.sum(jax.nn.log_sigmoid(jnp.where(observed[np.array(self.columns, int)], log_odds, -log_odds)))

    def sample(self, x: Vector, *, key: PRNGKeyArray) -> Bool[Array, " d"]:
        """A mask of observed cells for a row without gaps; columns outside `columns` stay observed."""
        seen = jax.random.bernoulli(key, jax.nn.sigmoid(self.log_odds(x)))
        return jnp.ones(x.shape, bool).at[np.array(self.columns, int)].set(seen)


@final
class SelfMasking(AbstractMechanism):
    """A cell's own value decides: log-odds of being observed = -a_j (x_j - b_j), a_j per standard deviation.

    `sign` +1 says that high values are missing (a_j > 0), -1 that low ones are, 0 that nobody knows. What identifies
    a_j and b_j is the shape of the observed values alone: give the sign where you can, and look at how the answers
    move with `scaled`. `self_masking` makes one from a table.
    """

    raw: Float[Array, " m"]
    intercept: Float[Array, " m"]
    """Log-odds at `center`."""
    center: Float[Array, " m"]
    scale: Float[Array, " m"]
    factor: Float[Array, ""]
    columns: Columns = eqx.field(static=True)
    sign: int = eqx.field(static=True, default=0)
    learned: bool = eqx.field(static=True, default=True)

    @property
    def reads(self) -> Columns:
        """The same columns."""
        return self.columns

    @property
    def strength(self) -> Float[Array, " m"]:
        """a_j: by how much the log-odds of being observed fall for a standard deviation of the column."""
        raw = _maybe_held(self.raw, self.learned)
        return jax.lax.stop_gradient(self.factor) * (self.sign * positive(raw) if self.sign else raw)

    @property
    def threshold(self) -> Float[Array, " m"]:
        """b_j: the value that is observed half of the time, in units of x."""
        level = jax.lax.stop_gradient(self.factor) * self.intercept
        return self.center + self.scale * level / self.strength

    def log_odds(self, x: Vector) -> Float[Array, " m"]:
        """intercept_j - a_j (x_j - center_j) / scale_j."""
        level = jax.lax.stop_gradient(self.factor) * _maybe_held(self.intercept, self.learned)
        return level - self.strength * _standard(x[np.array(self.columns, int)], self.center, self.scale)

    def scaled(self, factor: float | Float[Array, ""]) -> "SelfMasking":
        """a_j times `factor`, b_j as they are."""
        return eqx.tree_at(lambda a: a.factor, self, jnp.asarray(factor * self.factor, self.factor.dtype))


@final
class Logistic(AbstractMechanism):
    """All values decide: log-odds of being observed = intercept - W (x - center) / scale, W of shape (m, r).

    Row i of `weight` belongs to `columns[i]`, its column k to `reads[k]`. With `learned` False it is a mechanism that
    is given, not learnt. `logistic` makes one from a table.
    """

    weight: Float[Array, "m r"]
    intercept: Float[Array, " m"]
    center: Float[Array, " r"]
    scale: Float[Array, " r"]
    factor: Float[Array, ""]
    columns: Columns = eqx.field(static=True)
    inputs: Columns = eqx.field(static=True)
    learned: bool = eqx.field(static=True, default=True)

    @property
    def reads(self) -> Columns:
        """`inputs`."""
        return self.inputs

    def log_odds(self, x: Vector) -> Float[Array, " m"]:
        """intercept - W (x - center) / scale."""
        weight, level = (_maybe_held(a, self.learned) for a in (self.weight, self.intercept))
        standard = _standard(x[np.array(self.inputs, int)], self.center, self.scale)
        return jax.lax.stop_gradient(self.factor) * (level - weight @ standard)

    def scaled(self, factor: float | Float[Array, ""]) -> "Logistic":
        """W and the intercept times `factor`."""
        return eqx.tree_at(lambda a: a.factor, self, jnp.asarray(factor * self.factor, self.factor.dtype))


def self_masking(
    x: ArrayLike,
    observed: ArrayLike,
    *,
    columns: Sequence[int] | None = None,
    sign: int = 0,
    strength: float | None = None,
    learned: bool = True,
    dtype: str | None = None,
) -> SelfMasking:
    """A `SelfMasking` that starts at a table's observed cells.

    Args:
        x: (n, d) rows in the decoder's units; observed: (n, d) mask.
        columns: whose missingness to explain; None: those with a missing cell.
        sign: +1 (high values are missing), -1 (low ones) or 0 (unknown).
        strength: where a_j start, per observed standard deviation; None: 1 with a known sign, 0 without.
        learned: False holds a_j and b_j.

    Raises `ValueError` for another sign, no column, or a strength against the sign.
    """
    if sign not in (-1, 0, 1):
        raise ValueError(f"sign must be 1 (high values are missing), -1 (low ones) or 0; got {sign!r}; 0 if unknown.")
    a = float(sign) if strength is None else float(strength)
    if sign and not a * sign > 0:
        raise ValueError(f"strength must have the sign {sign}; got {strength!r}; leave it out, or use sign=0.")
    chosen, center, scale, level = _start(x, observed, columns)
    raw = inverse_positive(jnp.asarray(abs(a), float)) if sign else jnp.asarray(a, float)
    arrays = _arrays(
        dtype, raw=np.full(len(chosen), float(raw)), intercept=level, center=center, scale=scale, factor=1.0
    )
    return SelfMasking(**arrays, columns=chosen, sign=sign, learned=learned)


def logistic(
    x: ArrayLike,
    observed: ArrayLike,
    *,
    columns: Sequence[int] | None = None,
    reads: Sequence[int] | None = None,
    weight: ArrayLike | None = None,
    intercept: ArrayLike | None = None,
    learned: bool = True,
    dtype: str | None = None,
) -> Logistic:
    """A `Logistic` that starts at a table's observed cells.

    Args:
        x: (n, d) rows in the decoder's units; observed: (n, d) mask.
        columns: whose missingness to explain; None: those with a missing cell.
        reads: which values decide; None: all.
        weight: (m, r), per observed standard deviation, in the log-odds of being *missing*; None: zeros.
        intercept: (m,) log-odds of being observed at the observed means; None: from the observed shares.
        learned: False holds the weights and intercepts.

    Raises `ValueError` for no column, or weights of another shape.
    """
    chosen, _, _, level = _start(x, observed, columns)
    inputs = tuple(range(np.shape(x)[1])) if reads is None else tuple(int(j) for j in reads)
    _, center, scale, _ = _start(x, observed, inputs)
    w = np.zeros((len(chosen), len(inputs))) if weight is None else np.asarray(weight, float)
    b = level if intercept is None else np.asarray(intercept, float)
    if w.shape != (len(chosen), len(inputs)) or b.shape != (len(chosen),):
        raise ValueError(
            f"weight must have the shape {(len(chosen), len(inputs))} and intercept {(len(chosen),)}, a row for each "
            f"column that can be missing; got {w.shape} and {b.shape}; give columns and reads with them."
        )
    arrays = _arrays(dtype, weight=w, intercept=b, center=center, scale=scale, factor=1.0)
    return Logistic(**arrays, columns=chosen, inputs=inputs, learned=learned)


def _start(
    x: ArrayLike, observed: ArrayLike, columns: Sequence[int] | None
) -> tuple[Columns, np.ndarray, np.ndarray, np.ndarray]:
    """The columns, with mean, standard deviation and log-odds of being observed of each."""
    rows, seen = np.asarray(x, float), np.asarray(observed, bool)
    chosen = np.flatnonzero(~seen.all(axis=0)) if columns is None else np.asarray(columns, int)
    if not len(chosen):
        raise ValueError("A mechanism must have a column with a missing cell; got none; leave the mechanism out.")
    n = seen[:, chosen].sum(axis=0)
    filled = np.where(seen, rows, 0)[:, chosen]
    center = filled.sum(axis=0) / np.maximum(n, 1)
    scale = np.sqrt((np.where(seen[:, chosen], filled - center, 0) ** 2).sum(axis=0) / np.maximum(n, 1))
    level = np.log(n + 0.5) - np.log(len(rows) - n + 0.5)
    return tuple(int(j) for j in chosen), center, np.where(scale > 0, scale, 1.0), level


def _arrays(dtype: str | None, **values: Any) -> dict[str, Any]:
    return {name: jnp.asarray(value, dtype or float) for name, value in values.items()}


def _maybe_held(a: Array, learned: bool) -> Array:
    return a if learned else jax.lax.stop_gradient(a)


def _standard(x: Array, center: Array, scale: Array) -> Array:
    # The bound keeps a value that overflowed on its way from a log scale from making a NaN of a zero strength.
    return jnp.clip((x - jax.lax.stop_gradient(center)) / jax.lax.stop_gradient(scale), -_FAR, _FAR)


@final
class Selected(AbstractDistribution):
    """p(x_obs, s | z, eps): observed cells by `base`, missing ones at x_j(z, eps_j), the pattern by the mechanism.

    As a distribution of x it is the base: mean, variance and draws are those of a row before any cell is lost. What a
    missing cell is, given z and eps, says `completed`.
    """

    reparameterised: ClassVar[bool] = False
    base: AbstractDistribution
    noise: Float[Array, " r"]
    """eps of the columns that the mechanism reads."""
    mechanism: AbstractMechanism

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.base.dim

    @property
    def mean(self) -> Vector:
        """The base's: E[x | z]."""
        return self.base.mean

    @property
    def variance(self) -> Vector:
        """The base's: Var[x_j | z]."""
        return self.base.variance

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """A row before any cell is lost."""
        return self.base.sample(key=key)

    def given_noise(self) -> AbstractDistribution:
        """p(x_missing | z, eps), over all cells: the base with the columns that are read fixed at x_j(z, eps_j).

        For draws, means and variances of missing cells; its density is a spike.
        """
        reads = np.array(self.mechanism.reads, int)
        read = np.isin(np.arange(self.dim), reads)
        noise = jnp.zeros(self.dim, self.noise.dtype).at[reads].set(self.noise)
        return self.base.moved(noise, read)

    def completed(self, x: Vector, observed: Mask = None) -> Vector:
        """The row with its missing cells at x_j(z, eps_j), and at E[x_j | z] where the mechanism reads no column j."""
        return x if observed is None else jnp.where(observed, x, self.given_noise().mean)

    @property
    def factorised(self) -> bool:
        """Whether the base's cells are independent."""
        return self.base.factorised

    def given(self, x: Vector, observed: Bool[Array, " d"]) -> AbstractDistribution:
        """The base at the noise of its missing cells, which is part of z."""
        return self.given_noise().given(x, observed)

    def log_probs(self, x: Vector) -> Vector:
        """The base's."""
        return self.base.log_probs(x)

    def nominal_levels(self, *, binary: bool = False) -> tuple[int, ...]:
        """The base's."""
        return self.base.nominal_levels(binary=binary)

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """log p(x_obs | z) + log p(s | x_obs, x_mis(z, eps)), in nats; `observed` None: every cell is (s = 1)."""
        return self.base.log_prob(x, observed) + self.mechanism.log_prob(self.completed(x, observed), observed)


@final
class SelectedHead(AbstractHead):
    """From a network's output, and the noise of the missing cells behind it, to a `Selected`.

    Raises `ValueError` for a mechanism that reads columns which are not there, or not Gaussian given z.
    """

    base: AbstractHead
    mechanism: AbstractMechanism

    def __check_init__(self) -> None:
        named = (*self.mechanism.columns, *self.mechanism.reads)
        if not named or min(named) < 0 or max(named) >= self.base.dim:
            raise ValueError(
                f"A mechanism must name columns between 0 and {self.base.dim - 1}, one or more; got {named}; number "
                "them as the decoder's cells are."
            )
        bad = [j for j in self.mechanism.reads if not self.base.is_gaussian(j)]
        if bad:
            raise ValueError(
                "A mechanism must read columns that are Gaussian given z; the column(s) "
                f"{', '.join(map(str, bad))} of {type(self.base).__name__} are not; leave them out of the mechanism."
            )

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.base.dim

    @property
    def n_inputs(self) -> int:
        """Those of the base, and one for each column that the mechanism reads."""
        return self.base.n_inputs + len(self.mechanism.reads)

    def __call__(self, h: Float[Array, " m"]) -> Selected:
        """What the base makes of the first numbers, with the last as noise."""
        return Selected(self.base(h[: self.base.n_inputs]), h[self.base.n_inputs :], self.mechanism)

    def spread_at_start(self, *, key: PRNGKeyArray) -> Float[Array, " s"]:
        """The base's, and no noise."""
        return jnp.concatenate([self.base.spread_at_start(key=key), jnp.zeros(len(self.mechanism.reads))])


@final
class BesideNoise(eqx.Module):
    """(z, eps) -> (network(z), eps): a decoder's network that hands the noise on."""

    network: Network
    n_noise: int = eqx.field(static=True)

    def __call__(self, z: Latent) -> Float[Array, " m"]:
        """Map one vector."""
        n = z.shape[0] - self.n_noise
        return jnp.concatenate([self.network(z[:n]), z[n:]])


@final
class NoiseOfMissing(eqx.Module):
    """An encoder's network for q(z, eps | x_obs, s), a diagonal Gaussian, with q(eps_j) = N(0, 1) where j is observed.

    Nothing depends on the noise of an observed cell, so its posterior is its prior, exactly. The input must end in the
    row's mask, as that of `CentredInputs(center, with_mask=True)` and `ColumnsInputs` does; `network` returns all
    locations, then all raw scales.
    """

    network: Network
    reads: Columns = eqx.field(static=True)
    n_cells: int = eqx.field(static=True)

    def __call__(self, h: Float[Array, " i"]) -> Float[Array, " o"]:
        """Map one vector."""
        seen = h[h.shape[0] - self.n_cells + np.array(self.reads, int)]
        loc, raw = jnp.split(self.network(h), 2)
        keep = jnp.concatenate([jnp.ones(loc.shape[0] - len(self.reads), h.dtype), 1 - seen])
        return jnp.concatenate([keep * loc, keep * raw])


def selected_decoder(decoder: Decoder, mechanism: AbstractMechanism) -> Decoder:
    """The decoder with a mechanism: its latent is (z, eps), its `log_prob` that of (x_obs, s).

    The prior that goes with it is that of z beside a standard Gaussian of `len(mechanism.reads)` more dimensions.
    """
    n = len(mechanism.reads)
    return Decoder(
        BesideNoise(decoder.network, n), SelectedHead(decoder.head, mechanism), latent_dim=decoder.latent_dim + n
    )


def selected_encoder(
    make: Callable[..., Network],
    inputs: AbstractInputs,
    latent_dim: int,
    mechanism: AbstractMechanism,
    *,
    dtype: str | None = None,
    key: PRNGKeyArray,
) -> Encoder:
    """An encoder of (z, eps) for `selected_decoder`: a diagonal Gaussian whose q(eps) starts at N(0, I).

    `make(in_size, out_size, key=...)` draws the network inside; the vector of `inputs` must end in the mask.
    """
    size = latent_dim + len(mechanism.reads)
    network = with_output_layer(make(inputs.size, 2 * size, key=key), 2 * size, dtype)
    of_z = np.tile(np.arange(size) < latent_dim, 2)
    network = network.with_output(network.output.begun(of_z, jnp.where(of_z, network.output.constant(), 0)))
    gated = NoiseOfMissing(network, mechanism.reads, inputs.n_cells)
    return Encoder(gated, DiagonalGaussianFamily(size), inputs)


def with_strength(p: GenerativeModel, factor: float) -> GenerativeModel:
    """The model with the log-odds of its mechanism times `factor`, all else being the same.

    Factor 0 reads a fitted model as if cells were missing at random; what changes between factors rests on the
    mechanism and not on the data. Raises `ValueError` for a model without mechanism.
    """
    if not isinstance(p.decoder.head, SelectedHead):
        raise ValueError(
            "The model must have a missingness mechanism; this one takes cells to be missing at random; make its "
            "decoder with selected_decoder, or fit with missingness='self_masking'."
        )
    changed: GenerativeModel = eqx.tree_at(
        lambda a: a.decoder.head.mechanism, p, p.decoder.head.mechanism.scaled(factor)
    )
    return changed
