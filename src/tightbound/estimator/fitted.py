"""A fitted model: p and q with the encoding of the user's columns. What estimator, files, report and commands share."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import jax
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from tightbound.data import DataError, Encoding, Rows, Table
from tightbound.estimator.settings import Settings
from tightbound.evidence import Evidence, Latents, encode, joined, log_evidence, nothing_observed
from tightbound.evidence.result import Measure
from tightbound.evidence.rows import by_chunks, simulate
from tightbound.learn import (
    CONVERGED,
    EpochRecord,
    Pair,
    PerDatum,
    Refinement,
)
from tightbound.model import AbstractFamily, ConditionedHead, Specification, axes, make_family
from tightbound.model.compiling import compiled, require_own_threads

MOST_CELLS_AT_ONCE = 2**24
"""Of a sparse table, when its rows are scored."""
REFINABLE = tuple(each.word for each in axes.posteriors.MEMBERS if each.owned and not each.discrete)
"""Families all of whose numbers belong to the row."""


@final
@dataclasses.dataclass(frozen=True)
class TrainingSummary:
    """How a model came about; plain values, saved with it."""

    source: str
    """Words for the data: a file name, or "X"."""
    n_train: int
    n_validation: int
    history: tuple[EpochRecord, ...]
    """Bounds in nats a row, as densities in the user's units."""
    best_epoch: int
    status: str
    """Name of a `learn.Status`."""
    detail: str
    """One sentence on how the fit ended."""
    seconds: float
    """Wall time of the fit, compilation included."""
    seed: int
    settings: Settings
    messages: tuple[str, ...]
    """What a person should know: the likelihood chosen and why, columns left out, scales at their floor."""
    chosen: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """What stood for settings that were left open, by their names."""
    reference: tuple[float, ...] = ()
    """Anomaly scores of rows held out of the fit, for p-values; () where none were kept."""
    reference_gaps: tuple[str, ...] = ()
    """Which modelled cells they miss, as bits in hexadecimal; () where none does."""


@final
@dataclasses.dataclass(frozen=True)
class FittedModel:
    """A generative model, its inference, and what they need to speak in the user's units."""

    pair: Pair
    specification: Specification
    encoding: Encoding
    summary: TrainingSummary
    refined_by: int | None = None
    """Steps of the inner loop that improves q for every row, where it is not the q that was fitted."""

    @property
    def readable(self) -> bool:
        """Whether single cells given others can be asked for: a word is not missing from a bag, it is not there."""
        return not self.specification.likelihood.of_sums

    def require_readable(self) -> None:
        """Refuses (`DataError`) a model whose single cells have no distribution given others."""
        if not self.readable:
            raise DataError(
                f"The likelihood must have a distribution of single cells given others for this; it is "
                f"{self.encoding.likelihood!r}, that of a row's counts given their sum; use likelihood='columns' with "
                "exposure='total'."
            )

    def rows(self, table: Table) -> Rows:
        """The table's rows as the model sees them, dense; 8-bit intensities are binarised once, with seed 0."""
        rows = self.encoding.encode(table, dtype=self.specification.dtype, draw=False, seed=0)
        return dataclasses.replace(rows, x=np.asarray(rows.x))

    @property
    def measure(self) -> Measure:
        """What log p(x) is of: what each modelled column's values have, and what is given."""
        encoding, names = self.encoding, self.encoding.modelled_names
        modelled = [j for j in range(len(names)) if j not in encoding.given]
        kinds = {names[j]: _has(encoding, j) for j in modelled}
        missing = tuple(names[j] for j in self.specification.missing_columns)
        return Measure(kinds, encoding.given_names, missing)

    def latents(self, table: Table) -> Latents:
        """Posterior means, standard deviations and KL of every row."""
        if table.sparse and len(blocks := _blocks(table)) > 1:
            parts = [self.latents(block) for block in blocks]
            names = ("mean", "sd", "kl", "total_kl")
            whole: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
            return Latents(**whole, exact_kl=parts[0].exact_kl)
        rows = self.rows(table)
        with precision(self.specification.dtype):
            return encode(self.pair.p, self.pair.q, rows.x, rows.observed)

    def evidence(
        self, table: Table, n_samples: int | None = None, *, seed: int | None = None, **options: Any
    ) -> Evidence:
        """log p(x) of every row with its error, in nats as a density in the user's units.

        Args:
            table: the rows.
            n_samples: importance samples a row (None: as the model was fitted).
            seed: of the noise (None: the fit's own).
            options: further arguments of `evidence.log_evidence`; method and tolerance default to the model's own.
        """
        if table.sparse and "on_partial" not in options and len(blocks := _blocks(table)) > 1:
            return joined(self._evidence_of(blocks, n_samples, seed, options))
        rows, settings = self.rows(table), self.summary.settings
        options = {"method": settings.scoring_method, "tolerance": settings.tolerance, **options}
        with precision(self.specification.dtype):
            result = log_evidence(
                self.pair.p,
                self.pair.q,
                rows.x,
                rows.observed,
                n_samples=int(settings.n_importance_samples) if n_samples is None else n_samples,
                key=jax.random.key(self.summary.seed if seed is None else seed),
                **options,
            )
        result = dataclasses.replace(result.shifted(rows.log_jacobian), measure=self.measure)
        # Of a model of missingness which cells are missing has a probability, that all are too.
        if rows.observed is None or self.specification.missing_columns:
            return result
        blank = np.flatnonzero(~rows.observed.any(axis=1))
        nothing = nothing_observed(len(blank)).shifted(rows.log_jacobian[blank])  # 0, but for cells never seen before
        return result.with_rows(blank, nothing, elbo=False)

    def _evidence_of(
        self, blocks: list[Table], n_samples: int | None, seed: int | None, options: dict[str, Any]
    ) -> list[Evidence]:
        """The evidence of parts of a table, one after the other, within one time limit."""
        limit, began, found = options.get("time_limit"), time.monotonic(), []
        for block in blocks:
            left = {} if limit is None else {"time_limit": max(limit - (time.monotonic() - began), 1e-3)}
            found.append(self.evidence(block, n_samples, seed=seed, **{**options, **left}))
        return found

    def refined(self, steps: int = 100, posterior: str | None = None, start: str = "encoder") -> "FittedModel":
        """The same p with a q that is refined for every row by up to `steps` ascents of its bound.

        Args:
            steps: of the inner loop.
            posterior: family of the refined q ("diagonal", "full", "mixture", "planar", or the discrete one that the
                model has); None: the model's own.
            start: "encoder" (what the model's own q says) or "prior".

        Raises `ValueError` for a model whose q is exact, and for families that do not fit it.
        """
        family = _family_for(self, posterior)
        with precision(self.specification.dtype):
            loop = Refinement(steps, self.specification.inference.rate, tolerance=CONVERGED)
            own, wanted = self.pair.q, str(jax.tree.structure(family))
            if start == "encoder" and wanted == str(jax.tree.structure(own.own_family)):
                q = own.refined(self.pair.p, loop)
            else:
                q = PerDatum(family, loop, own if start == "encoder" else None)
        return dataclasses.replace(self, pair=Pair(self.pair.p, q), refined_by=steps)

    def _by_rows(self, function: Callable[..., Array], *arrays: NDArray[Any]) -> NDArray[Any]:
        """A compiled function of the pair and rows, for all rows."""
        found: NDArray[Any] = by_chunks(lambda *rows: function(self.pair, *rows), *arrays)
        return found

    def decode(self, z: NDArray[Any]) -> NDArray[np.float64]:
        """E[x | z] as codes of the modelled columns, (n, m) for z of shape (n, k)."""
        with precision(self.specification.dtype):
            x = self._by_rows(_mean_of_x, np.asarray(z, self.specification.dtype))
        return self.encoding.decode(x)

    def reconstruct(self, table: Table) -> NDArray[np.float64]:
        """E[x | z] at the posterior mean z of every row, as codes (n, m)."""
        if not isinstance(self.pair.p.decoder.head, ConditionedHead):
            return self.decode(self.latents(table).mean)
        rows, z = self.rows(table), self.latents(table).mean
        with precision(self.specification.dtype):
            observed = np.ones(rows.x.shape, bool) if rows.observed is None else rows.observed
            return self.encoding.decode(self._by_rows(_mean_at, z, np.asarray(rows.x), observed))

    def sample(self, n: int, seed: int, first: int = 0) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """n draws (x, z) from p(x, z), from the `first` on of those that the seed fixes: codes (n, m), and (n, k)."""
        with precision(self.specification.dtype):
            x, z = simulate(self.pair.p, n, first=first, key=jax.random.key(seed))
        return self.encoding.decode(x, on_grid=True), z

    def sample_under(self, given: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        """A row of p(x | c) for each row of what is given, as `ConditionedHead.reference` holds it; user's units."""
        with precision(self.specification.dtype):
            keys = _keys(seed, len(given))
            x = self._by_rows(_under, np.asarray(given, self.specification.dtype), keys)
        return self.encoding.decode(x, on_grid=True)

    def sample_posterior(self, table: Table, n: int, seed: int) -> NDArray[Any]:
        """n draws of z from q(z | x) of every row, (rows, n, k)."""
        rows = self.rows(table)
        with precision(self.specification.dtype):
            keys = np.asarray(jax.random.key_data(jax.random.split(jax.random.key(seed), (len(rows.x), n))))
            observed = np.ones(rows.x.shape, bool) if rows.observed is None else rows.observed
            return self._by_rows(_posterior_draws, rows.x, observed, keys)


def _has(encoding: Encoding, j: int) -> str:
    """What the values of a column have under a model."""
    if not encoding.continuous(j):
        return "probabilities once binarised" if encoding.binarize else "probabilities"
    masses = ", ".join(f"{x:g}" for x in encoding.point_masses(j))
    return f"a density with point masses at {masses}" if masses else "a density"


def _blocks(table: Table) -> list[Table]:
    """A sparse table in parts of so many rows as may be dense at once; what is found for a row is its own."""
    most = max(1, MOST_CELLS_AT_ONCE // table.n_columns)
    return [table.take(np.arange(i, min(i + most, table.n_rows))) for i in range(0, table.n_rows, most)]


def _family_for(model: FittedModel, posterior: str | None) -> AbstractFamily:
    spec = model.specification
    own = model.pair.q.own_family
    if own is None:
        raise ValueError(
            "Only a q that is not exact can be refined, but this model's is the posterior itself; use it as it is."
        )
    if posterior is None or (posterior == spec.posterior.word and model.refined_by is None):
        return own
    legal = (spec.posterior.word,) if spec.discrete else REFINABLE
    if posterior not in legal:
        raise ValueError(
            f"The family of a refined q must be one of {', '.join(legal)}; got {posterior!r}; a flow with networks "
            "must be learnt with the model (posterior='iaf')."
        )
    member = spec.posterior if posterior == spec.posterior.word else posterior
    return make_family(member, spec.latent_dim, dtype=spec.dtype, key=jax.random.key(0))


def _keys(seed: int, n: int) -> NDArray[Any]:
    return np.asarray(jax.random.key_data(jax.random.split(jax.random.key(seed), n)))


@compiled
def _mean_of_x(pair: Pair, z: Array) -> Array:
    return jax.vmap(lambda z: pair.p.decoder(z).mean)(z)


@compiled
def _mean_at(pair: Pair, z: Array, x: Array, observed: Array) -> Array:
    return jax.vmap(lambda z, x, observed: pair.p.decoder.head.at(z, x, observed).mean)(z, x, observed)


@compiled
def _under(pair: Pair, given: Array, keys: Array) -> Array:
    def one(chosen: Array, key: Array) -> Array:
        key_z, key_x = jax.random.split(jax.random.wrap_key_data(key))
        head: Any = pair.p.decoder.head
        return head.referring(pair.p.prior.sample(key=key_z), chosen).sample(key=key_x)

    return jax.vmap(one)(given, keys)


@compiled
def _posterior_draws(pair: Pair, x: Array, observed: Array, keys: Array) -> Array:
    def one(x: Array, observed: Array, keys: Array) -> Array:
        # The key of the inner loop is that of `encode`: the draws are of the q that is reported.
        q = pair.q(pair.p, x, observed, key=jax.random.key(0))
        return jax.vmap(lambda k: q.sample(key=jax.random.wrap_key_data(k)))(keys)

    return jax.vmap(one)(x, observed, keys)


@compiled
def _sd_of_x(pair: Pair, z: Array) -> Array:
    return jax.vmap(lambda z: pair.p.decoder(z).variance ** 0.5)(z)


def columns_at_floor(pair: Pair, encoding: Encoding, z: NDArray[Any]) -> list[str]:
    """Names of the columns whose scale given z lies within 5 % of its floor for at least a twentieth of the rows."""
    if encoding.likelihood != "gaussian" or encoding.given:
        return []
    sd = by_chunks(lambda z: _sd_of_x(pair, z), z)
    share = np.mean(sd <= 1.05 * encoding.floor, axis=0)
    return [name for name, much in zip(encoding.modelled_names, share > 0.05, strict=True) if much]


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Run JAX in 64 bits inside, when `dtype` asks for it; otherwise as the process is set.

    All that runs a model begins here, and so here a process that cannot is refused.
    """
    require_own_threads()
    if dtype == "float64":
        with jax.enable_x64(True):
            yield
    else:
        yield


def add_to_bounds(history: tuple[EpochRecord, ...], train: float, validation: float) -> tuple[EpochRecord, ...]:
    """The history with the mean log Jacobian of the encoding added: bounds in the user's units."""
    return tuple(
        dataclasses.replace(
            record,
            train_bound=record.train_bound + train,
            validation_bound=record.validation_bound + validation,
            train_objective=record.train_objective + train,
        )
        for record in history
    )
