"""Several levels of latents, top-down: p(z) = p(z_L) ... p(z_1 | z_2, ..., z_L), and q(z | x) likewise.

z stays one flat vector, made of named parts, the top level first; so all that is computed of p(z), q(z | x) and their
log weights is the same for one level and for many. One level is exactly the family that it is made of.
"""

from collections.abc import Sequence
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tightbound.model.distributions import AbstractDistribution, Latent, Mask, Scalar, Vector
from tightbound.model.families import AbstractFamily
from tightbound.model.networks.dense import Network, check_size, dtype_of


@final
class Level(eqx.Module):
    """z_l given the levels above it: family(network([z above, context])), or family(context) where nothing is above.

    `context_size` numbers come from outside: from an encoder in a posterior; none, or learned ones, in a prior.
    Raises `ValueError` for a network that does not fit.
    """

    family: AbstractFamily
    network: Network | None
    """None for the top level, whose context are the family's own parameters."""
    name: str = eqx.field(static=True)
    size_above: int = eqx.field(static=True, default=0)
    context_size: int = eqx.field(static=True, default=0)

    def __check_init__(self) -> None:
        if self.network is not None:
            sizes = (self.size_above + self.context_size, self.family.n_parameters)
            needed_by = f"a {type(self.family).__name__} of dimension {self.family.dim}"
            check_size(self.network, sizes, dtype_of(self.network), f"level {self.name!r}", needed_by)

    @property
    def n_parameters(self) -> int:
        """Numbers that come from outside."""
        return self.family.n_parameters if self.network is None else self.context_size

    def given(self, above: Latent, context: Float[Array, " c"]) -> AbstractDistribution:
        """p(z_l | z above) in this context."""
        if self.network is None:
            return self.family(context)
        return self.family(self.network(jnp.concatenate([above, context])))


@final
class Hierarchy(AbstractDistribution):
    """prod_l p(z_l | levels above): a distribution over the flat vector of all levels, the top one first.

    Draws are differentiable, as those of every level must be.
    """

    reparameterised: ClassVar[bool] = True
    levels: tuple[Level, ...]
    contexts: tuple[Float[Array, " _"], ...]

    @property
    def dim(self) -> int:
        """Length of z, all levels together."""
        return sum(level.family.dim for level in self.levels)

    @property
    def mean(self) -> Vector:
        """The mean of each level where those above it are at their means: E[z] itself of the top level alone."""
        return self._moments()[0]

    @property
    def variance(self) -> Vector:
        """The variance of each level where those above it are at their means: what they add is left out."""
        return self._moments()[1]

    def parts(self, z: Latent) -> dict[str, Float[Array, " _"]]:
        """The levels of z by their names."""
        return dict(zip((level.name for level in self.levels), jnp.split(z, self._ends), strict=True))

    def sample(self, *, key: PRNGKeyArray) -> Vector:
        """One draw, level after level."""
        z = self.contexts[0][:0]
        keys = jax.random.split(key, len(self.levels))
        for level, context, own in zip(self.levels, self.contexts, keys, strict=True):
            z = jnp.concatenate([z, level.given(z, context).sample(key=own)])
        return z

    def log_prob(self, x: Vector, observed: Mask = None) -> Scalar:
        """The sum over levels; the vector is seen as a whole (`observed` is None)."""
        return jnp.sum(jnp.stack(self.log_prob_by_level(x)))

    def log_prob_by_level(self, z: Latent) -> list[Scalar]:
        """log p(z_l | levels above), nats."""
        begins = (0, *self._ends)
        parts = jnp.split(z, self._ends)
        members = zip(self.levels, self.contexts, begins, parts, strict=True)
        return [level.given(z[:begin], context).log_prob(own) for level, context, begin, own in members]

    @property
    def _ends(self) -> tuple[int, ...]:
        return tuple(int(end) for end in np.cumsum([level.family.dim for level in self.levels])[:-1])

    def _moments(self) -> tuple[Vector, Vector]:
        mean, variance = self.contexts[0][:0], self.contexts[0][:0]
        for level, context in zip(self.levels, self.contexts, strict=True):
            own = level.given(mean, context)
            mean, variance = jnp.concatenate([mean, own.mean]), jnp.concatenate([variance, own.variance])
        return mean, variance


@final
class HierarchyFamily(AbstractFamily):
    """Distributions over several levels: the parameters of the top one, then the contexts of those below it, in turn.

    The networks between levels belong to the family and are shared by all rows. With a `LearnedPrior` it is a prior.
    Of one level it makes the members of that level's family, and nothing else.
    Raises `ValueError` for no level, and for levels that do not stand upon each other.
    Source: Rezende, Mohamed and Wierstra (2014); Burda, Grosse and Salakhutdinov (2016) for two levels; Sonderby et al.
    (2016) for q in the order of p.
    """

    levels: tuple[Level, ...]

    def __check_init__(self) -> None:
        above = np.cumsum([0, *(level.family.dim for level in self.levels)])[:-1]
        fits = [
            level.size_above == size and (level.network is None) == (i == 0)
            for i, (level, size) in enumerate(zip(self.levels, above, strict=True))
        ]
        if not fits or not all(fits):
            raise ValueError(
                "levels must be one or more, the top one without a network, each below with one that sees all levels "
                f"above it; got {[level.name for level in self.levels]}; make them with stacked_levels."
            )

    @property
    def dim(self) -> int:
        """Length of z, all levels together."""
        return sum(level.family.dim for level in self.levels)

    @property
    def n_parameters(self) -> int:
        """Those of the top level, and the contexts of the others."""
        return sum(level.n_parameters for level in self.levels)

    def __call__(self, parameters: Float[Array, " m"]) -> AbstractDistribution:
        """The member with these contexts."""
        if len(self.levels) == 1:
            return self.levels[0].family(parameters)
        ends = np.cumsum([level.n_parameters for level in self.levels])[:-1]
        return Hierarchy(self.levels, tuple(jnp.split(parameters, ends)))

    def init_from_moments(self, mean: Float[Array, " d"], scale: Float[Array, " d"]) -> Float[Array, " m"]:
        """The top level at these, contexts of zeros below it."""
        top = self.levels[0].family
        contexts = jnp.zeros(self.n_parameters - top.n_parameters, mean.dtype)
        return jnp.concatenate([top.init_from_moments(mean[: top.dim], scale[: top.dim]), contexts])


def stacked_levels(
    families: Sequence[AbstractFamily],
    networks: Sequence[Network],
    *,
    context_sizes: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
) -> HierarchyFamily:
    """Levels upon each other, the top one first.

    Args:
        families: of each level.
        networks: of each level but the top one, from all levels above and its context to its family's parameters.
        context_sizes: numbers that each level but the top one gets from outside (None: none).
        names: of the levels (None: z_L, ..., z_1).
    """
    n = len(families)
    sizes = [0] * (n - 1) if context_sizes is None else list(context_sizes)
    named = [f"z_{n - i}" for i in range(n)] if names is None else list(names)
    above = np.cumsum([0, *(family.dim for family in families)])
    parts = zip(families, [None, *networks], named, map(int, above[:-1]), [0, *sizes], strict=True)
    return HierarchyFamily(tuple(Level(*part) for part in parts))
