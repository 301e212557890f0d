"""The simple models that a model is ranked among: which there are, how they are fitted, and their ranking."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol, final, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from tightbound.evidence.reference.gaussians import (
    Gaussians,
    factor_analysis,
    fit_gaussians,
    floored,
    ledoit_wolf,
    patterns_of,
    probabilistic_pca,
    single,
)
from tightbound.evidence.reference.independent_columns import (
    Bernoullis,
    DiagonalGaussians,
    MixtureModel,
    Numbers,
    Seen,
    column_moments,
    fit_bernoullis,
    fit_diagonal_gaussians,
    log_density,
    smoothed_means,
)
from tightbound.evidence.reference.made import MadeFit, fit_made, standard_units
from tightbound.model import AbstractDistribution, ColumnSpecification
from tightbound.model.compiling import compiled

FEWEST_ROWS = 20
"""Below this nothing can be held out, so nothing can be chosen."""
MOST_HELD_OUT = 2000
MOST_ROWS_TO_CHOOSE = 4000
"""Rows that a mixture is fitted to while its number of components is chosen."""
NUMBERS_OF_PARTS = (1, 2, 3, 5, 8, 12, 20, 30, 50)
"""Components to choose from; the search stops after two that are worse than the best so far."""
NUMBERS_OF_FACTORS = (*NUMBERS_OF_PARTS, 80, 120)
WIDEST_FULL_MIXTURE = 100
"""Columns up to which components may have whole covariance matrices."""
MOST_FULL_PARTS = 20
"""Components with whole covariance matrices: beyond it hardly a simple model."""
MOST_PATTERN_WORK = 2e9
"""Patterns of missing cells x columns^3 that a fit with a whole covariance matrix may take a round."""
MOST_MIXTURE_WORK = 1e11
"""Rows x columns x components x rounds (x columns again with whole covariance matrices) that a mixture may take."""
FEWEST_ROUNDS = 20
"""For which a mixture has time; where it takes too long even so, it is fitted to fewer rows."""
FEWEST_ROWS_FOR_MADE = 200
WIDEST_GAUSSIAN_MADE = 200
UNITS_FOR_MADE = (128, 500)
"""Hidden units: the first for numbers; for zeros and ones as many as columns, within these two."""
WORK_FOR_MADE = 2.5e11
"""Rows x columns x hidden units x epochs that fitting a MADE may take, times the mean of inputs and outputs a cell."""
STEPS_FOR_MADE = 30_000

Scorer = Callable[[Numbers, Seen], Numbers]
"""Checked rows and mask to log densities, (n,) nats."""
Outcome = tuple[Scorer, str] | str
"""A fitted model and how it was set; or why there is none."""


@final
@dataclasses.dataclass(frozen=True)
class Part:
    """Rows, and where a whole covariance matrix was asked for their mean and scatter."""

    x: Numbers
    seen: Seen
    mean: Numbers | None = None
    scatter: Numbers | None = None

    def take(self, n: int) -> "Part":
        """The first n rows, which are in random order."""
        return Part(self.x[:n], None if self.seen is None else self.seen[:n])


@final
@dataclasses.dataclass(frozen=True)
class Task:
    """All rows in random order; the same in two parts, one to fit to and one to choose by (None with few rows)."""

    all: Part
    fit: Part | None
    guard: Part | None
    floor: Numbers
    seed: int
    obstacle: str
    """Why there is no scatter: "" if there is one."""
    columns: tuple[ColumnSpecification, ...] = ()
    """Of columns of several kinds: the likelihood of each."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.all.x.shape[0], self.all.x.shape[1]

    def rng(self) -> np.random.Generator:
        """The same for every fit: what is compared differs in nothing else."""
        return np.random.default_rng([self.seed, 1])


def prepared(
    x: Numbers, seen: Seen, likelihood: str, floor: Numbers, seed: int, columns: tuple[ColumnSpecification, ...] = ()
) -> Task:
    """Rows in random order and in parts; rows without observed cells, which say nothing, are dropped."""
    kept = np.arange(len(x)) if seen is None else np.flatnonzero(seen.any(axis=1))
    order = np.random.default_rng([seed, 0]).permutation(kept)
    rows, mask = x[order], None if seen is None else seen[order]
    n_held_out = min(len(rows) // 4, MOST_HELD_OUT) if len(rows) >= FEWEST_ROWS else 0
    parts = [Part(rows, mask)]
    if n_held_out:
        parts += [
            Part(rows[cut], None if mask is None else mask[cut])
            for cut in (slice(n_held_out, None), slice(None, n_held_out))
        ]
    obstacle = _obstacle(parts[0]) if likelihood == "gaussian" else "-"
    if not obstacle:
        parts[:2] = [_with_scatter(part, floor) for part in parts[:2]]
    fit, guard = (parts[1], parts[2]) if n_held_out else (None, None)
    return Task(parts[0], fit, guard, floor, seed, obstacle, columns)


def _obstacle(part: Part) -> str:
    """Why no covariance matrix can be estimated from these rows, or ""."""
    n, d = part.x.shape
    if d < 2:
        return "with one column it is the same as independent Gaussians"
    if n < 2:
        return "it needs at least 2 rows; there is 1"
    if part.seen is None:
        return ""
    if n <= 2 * d:
        return f"with missing cells it needs more than {2 * d} rows (twice the columns); there are {n}"
    seen = part.seen.astype(np.float64)
    if np.min(seen.T @ seen) < 2:
        return "some two columns are never observed together"
    if len(patterns_of(part.x, part.seen).seen) * d**3 > MOST_PATTERN_WORK:
        return f"integrating out missing cells would take too long with {d} columns and so many patterns of them"
    return ""


def _with_scatter(part: Part, floor: Numbers) -> Part:
    if part.seen is None:
        mean = part.x.mean(axis=0)
        return dataclasses.replace(part, mean=mean, scatter=(part.x - mean).T @ (part.x - mean) / len(part.x))
    mixture, _ = fit_gaussians(part.x, part.seen, 1, floor, np.random.default_rng(0), tolerance=1e-5)
    return dataclasses.replace(part, mean=mixture.means[0], scatter=mixture.covariances[0])


def _scored_by(mixture: MixtureModel) -> Scorer:
    return lambda x, seen: log_density(mixture, x, seen)


def _mean_score(mixture: MixtureModel, part: Part) -> float:
    return float(np.mean(log_density(mixture, part.x, part.seen)))


def _choose(
    fit: Callable[[int], MixtureModel], guard: Part, most: int, numbers: tuple[int, ...] | None = None
) -> tuple[int, float]:
    """Which of these (None: `NUMBERS_OF_PARTS`) up to `most` is best on held-out rows, and their mean log density."""
    best, value, worse = 1, -np.inf, 0
    for k in numbers or NUMBERS_OF_PARTS:
        if k > most or worse == 2:
            break
        score = _mean_score(fit(k), guard)
        best, value, worse = (k, score, 0) if score > value else (best, value, worse + 1)
    return best, value


def _independent_gaussians(task: Task) -> Outcome:
    mean, variance = column_moments(task.all.x, task.all.seen, task.floor)
    mixture = DiagonalGaussians(np.ones(1), mean[None], variance[None])
    return _scored_by(mixture), "a mean and a standard deviation a column"


def _full_gaussian(task: Task) -> Outcome:
    mean, scatter = task.all.mean, task.all.scatter
    if mean is None or scatter is None:
        return task.obstacle
    plain = single(mean, floored(scatter, task.floor))
    if task.all.seen is not None:
        return _scored_by(plain), "fitted to all rows, with their missing cells integrated out"
    shrunk, share = ledoit_wolf(task.all.x)
    if task.fit is None or task.guard is None or task.fit.mean is None or task.fit.scatter is None:
        better = True
    else:
        there = single(task.fit.mean, floored(ledoit_wolf(task.fit.x)[0], task.floor))
        here = single(task.fit.mean, floored(task.fit.scatter, task.floor))
        better = _mean_score(there, task.guard) > _mean_score(here, task.guard)
    if not better:
        return _scored_by(plain), "maximum likelihood"
    detail = f"shrunk by {share:.2g} towards equal, independent columns (Ledoit and Wolf)"
    return _scored_by(single(mean, floored(shrunk, task.floor))), detail


def _probabilistic_pca(task: Task) -> Outcome:
    return _factors(task, lambda mean, scatter, q: probabilistic_pca(mean, scatter, q, task.floor))


def _factor_analysis(task: Task) -> Outcome:
    return _factors(task, lambda mean, scatter, q: factor_analysis(mean, scatter, q, task.floor)[0])


def _factors(task: Task, fit: Callable[[Numbers, Numbers, int], Gaussians]) -> Outcome:
    n, d = task.shape
    if d < 3:
        return f"it needs at least 3 columns; there {'is 1' if d == 1 else 'are 2'}"
    if task.fit is None or task.guard is None:
        return f"its factors are chosen on held-out rows, which takes at least {FEWEST_ROWS} rows; there are {n}"
    mean, scatter = task.fit.mean, task.fit.scatter
    if task.all.mean is None or task.all.scatter is None or mean is None or scatter is None:
        return task.obstacle
    most = min(d - 1, len(task.fit.x) - 1)
    q, _ = _choose(lambda k: fit(mean, scatter, k), task.guard, most, NUMBERS_OF_FACTORS)
    detail = f"{q} factor{'s' if q > 1 else ''}, chosen on held-out rows"
    return _scored_by(fit(task.all.mean, task.all.scatter, q)), detail


def _gaussian_mixture(task: Task) -> Outcome:
    if task.fit is None or task.guard is None:
        return (
            f"its components are chosen on held-out rows, which takes at least {FEWEST_ROWS} rows; "
            f"there are {len(task.all.x)}"
        )
    part = task.fit.take(MOST_ROWS_TO_CHOOSE)
    kinds: dict[str, Callable[[Part, int, np.random.Generator, int], tuple[MixtureModel, tuple[float, ...]]]] = {
        "independent columns within each": lambda p, k, rng, most: fit_diagonal_gaussians(
            p.x, p.seen, k, task.floor, rng, most=most
        ),
    }
    if not task.obstacle and _full_mixture_is_cheap(part):
        kinds["full covariances"] = lambda p, k, rng, most: fit_gaussians(p.x, p.seen, k, task.floor, rng, most=most)
    chosen = {
        kind: _choose(lambda k, fit=fit: fit(part, k, task.rng(), 40)[0], task.guard, _most_parts(part, kind))  # type: ignore[misc]
        for kind, fit in kinds.items()
    }
    kind = max(chosen, key=lambda name: chosen[name][1])
    k = chosen[kind][0]
    if k == 1:
        return f"one component ({kind}) explains held-out rows best"
    weight = k * (part.x.shape[1] if "full" in kind else 1)
    mixture, fewer = _best_start(lambda p, rng, most: kinds[kind](p, k, rng, most), task, weight)
    return _scored_by(mixture), f"{k} components, {kind}, chosen on held-out rows{fewer}"


def _most_parts(part: Part, kind: str) -> int:
    most = len(part.x) // 5
    return min(most, MOST_FULL_PARTS) if "full" in kind else most


def _full_mixture_is_cheap(part: Part) -> bool:
    d = part.x.shape[1]
    return d <= WIDEST_FULL_MIXTURE and len(patterns_of(part.x, part.seen).seen) * d**3 <= MOST_PATTERN_WORK / 50


def _best_start(
    fit: Callable[[Part, np.random.Generator, int], tuple[MixtureModel, tuple[float, ...]]], task: Task, weight: int
) -> tuple[MixtureModel, str]:
    """The best of three fits to all rows from different starting points, or only one where that takes long.

    `fit` gets rows and the most rounds; `weight` is its work for a cell and round. Also returns what to say if rows
    were left out for the time that they would take.
    """
    n, d = task.shape
    rows = min(n, int(MOST_MIXTURE_WORK / (FEWEST_ROUNDS * d * weight)))
    part = task.all.take(rows)
    rounds = int(np.clip(MOST_MIXTURE_WORK / (part.x.size * weight), FEWEST_ROUNDS, 200))
    starts = 3 if part.x.size * weight < (1e7 if part.seen is None else 1e5) else 1
    rng = task.rng()
    best = max((fit(part, rng, rounds) for _ in range(starts)), key=lambda found: found[1][-1])[0]
    return best, "" if rows == n else f", and fitted to {rows} of {n} rows to save time"


def _independent_bernoullis(task: Task) -> Outcome:
    mixture = Bernoullis(np.ones(1), smoothed_means(task.all.x, task.all.seen)[None])
    return _scored_by(mixture), "a probability a column, with half a one and half a zero added (Jeffreys)"


def _bernoulli_mixture(task: Task) -> Outcome:
    n, d = task.shape
    if d < 2:
        return "with one column it is the same as independent Bernoullis"
    if task.fit is None or task.guard is None:
        return f"its components are chosen on held-out rows, which takes at least {FEWEST_ROWS} rows; there are {n}"
    part = task.fit.take(MOST_ROWS_TO_CHOOSE)
    k, _ = _choose(lambda k: fit_bernoullis(part.x, part.seen, k, task.rng(), most=40)[0], task.guard, len(part.x) // 5)
    if k == 1:
        return "one component explains held-out rows best, which is independent Bernoullis"
    mixture, fewer = _best_start(lambda p, rng, most: fit_bernoullis(p.x, p.seen, k, rng, most=most), task, k)
    return _scored_by(mixture), f"{k} components, chosen on held-out rows{fewer}"


def _gaussian_made(task: Task) -> Outcome:
    obstacle = _made_obstacle(task)
    if obstacle is not None or task.fit is None:
        return obstacle or "no rows can be held out"
    if task.shape[1] > WIDEST_GAUSSIAN_MADE:
        return f"it would take too long with {task.shape[1]} columns (at most {WIDEST_GAUSSIAN_MADE})"
    _, spread = standard_units(task.fit.x, task.fit.seen)
    floors = task.floor / spread
    return _made(
        task, UNITS_FOR_MADE[0], "5 Gaussians a cell, ", 16.0, likelihood="gaussian", n_components=5, floor=floors
    )


def _bernoulli_made(task: Task) -> Outcome:
    units = int(np.clip(task.shape[1], *UNITS_FOR_MADE))
    return _made(task, units, "", 1.0, likelihood="bernoulli")


def _columns_made(task: Task) -> Outcome:
    if task.shape[1] > WIDEST_GAUSSIAN_MADE:
        return f"it would take too long with {task.shape[1]} columns (at most {WIDEST_GAUSSIAN_MADE})"
    outputs = sum(column.likelihood().n_outputs for column in task.columns) / task.shape[1]
    families = "families as in the model, "
    return _made(task, UNITS_FOR_MADE[0], families, outputs, likelihood="columns", columns=task.columns)


def _made_obstacle(task: Task) -> str | None:
    n, d = task.shape
    if d < 2:
        return "it needs at least 2 columns; there is 1"
    if n < FEWEST_ROWS_FOR_MADE:
        return f"it needs at least {FEWEST_ROWS_FOR_MADE} rows; there are {n}"
    return None


def _made(task: Task, n_units: int, cells: str, outputs: float, **options: Any) -> Outcome:
    """A MADE of so many hidden units and outputs a cell; `cells`: what to say of its cells."""
    obstacle = _made_obstacle(task)
    if obstacle is not None or task.fit is None or task.guard is None:
        return obstacle or "no rows can be held out"
    by_work = WORK_FOR_MADE / (task.fit.x.size * n_units * (1 + outputs) / 2)
    batch_size = 100
    by_steps = STEPS_FOR_MADE * batch_size / len(task.fit.x)
    epochs = int(np.clip(min(by_work, by_steps), 3, 200))
    found = fit_made(
        task.fit.x,
        task.fit.seen,
        **options,
        hidden_sizes=(n_units,),
        epochs=epochs,
        validation=task.guard.x,
        validation_observed=task.guard.seen,
        patience=max(3, epochs // 10),
        batch_size=batch_size,
        key=jax.random.key(task.seed),
    )
    detail = f"{cells}{n_units} hidden units, at most {epochs} epochs, stopped early on held-out rows"
    if found.takes_missing:
        detail += "; of the observed cells given which are observed"
    return _made_scorer(found), detail


def _made_scorer(found: MadeFit) -> Scorer:
    return lambda x, seen: found.log_prob(x, seen) if len(x) else np.zeros(0)


GAUSSIAN: dict[str, Callable[[Task], Outcome]] = {
    "independent Gaussians": _independent_gaussians,
    "Gaussian, full covariance": _full_gaussian,
    "probabilistic PCA": _probabilistic_pca,
    "factor analysis": _factor_analysis,
    "Gaussian mixture": _gaussian_mixture,
    "MADE": _gaussian_made,
}
BERNOULLI: dict[str, Callable[[Task], Outcome]] = {
    "independent Bernoullis": _independent_bernoullis,
    "Bernoulli mixture": _bernoulli_mixture,
    "MADE": _bernoulli_made,
}
COLUMNS: dict[str, Callable[[Task], Outcome]] = {"MADE": _columns_made}


LIKELIHOODS = ("gaussian", "bernoulli", "columns")


@final
@dataclasses.dataclass(frozen=True)
class Baseline:
    """A fitted simple model of the rows, with an exact likelihood.

    Example: `baselines, left_out = fit_baselines(x, likelihood="gaussian"); baselines[0].log_prob(x_test).mean()`.
    """

    name: str
    """What it is: "factor analysis"."""
    detail: str
    """How it was set: "4 factors, chosen on held-out rows"."""
    likelihood: str
    """"gaussian": log densities in the model's units; "bernoulli": log probabilities."""
    n_columns: int
    takes_missing: bool
    """Whether rows with missing cells have a likelihood."""
    scorer: Scorer = dataclasses.field(repr=False)
    """Checked rows and mask to (n,) nats."""

    def log_prob(self, x: ArrayLike, observed: ArrayLike | None = None) -> Numbers:
        """log p of the observed cells of every row: exact, missing cells integrated out.

        Args:
            x: (n, d) rows in the model's units; cells that are not observed may hold anything.
            observed: (n, d) which cells count; None for all.

        Returns:
            (n,) nats; 0 for a row without observed cells.

        Raises:
            ValueError: for another shape, a cell that is not finite (or not 0 or 1), a mask that the model cannot take.
        """
        rows, seen = _checked(x, observed, self.likelihood, self.n_columns)
        if seen is not None and not self.takes_missing:
            raise ValueError(
                f"observed must be None for the baseline {self.name}, which needs complete rows; got a mask with "
                f"{int((~seen).sum())} missing cells; score complete rows only, or take another baseline."
            )
        return self.scorer(rows, seen)


@runtime_checkable
class Listener(Protocol):
    """Called before each fit."""

    def __call__(self, done: int, total: int, name: str) -> None:
        """How many of how many are done, and what comes next."""
        ...


def fit_baselines(
    x: ArrayLike,
    observed: ArrayLike | None = None,
    *,
    likelihood: str,
    floor: ArrayLike | None = None,
    made: bool = True,
    independent: AbstractDistribution | None = None,
    columns: Sequence[ColumnSpecification] = (),
    seed: int = 0,
    on_progress: Listener | None = None,
) -> tuple[tuple[Baseline, ...], tuple[str, ...]]:
    """Fit every simple model that these rows allow.

    Gaussian: independent Gaussians; one with full covariance; probabilistic PCA; factor analysis; a mixture of
    Gaussians; MADE. Bernoulli: independent Bernoullis; a mixture of them; MADE. Columns of several kinds: independent
    ones; MADE.

    Args:
        x: (n, d) training rows in the model's units; cells that are not observed may hold anything.
        observed: (n, d) which cells count; None for all. Missing ones are integrated out in every fit, too.
        likelihood: "gaussian" or "bernoulli".
        floor: (d,) least standard deviation of each column, as the decoder's (None: a thousandth of the column's, or of
            1 where that is 0).
        made: whether to fit a MADE as well: the slowest, and often the best.
        independent: of columns of several kinds: their product, fitted to their marginals.
        columns: of columns of several kinds: the likelihood of each, for a MADE; () for none.
        seed: of the held-out rows, of starting points, and of MADE's weights.
        on_progress: called before each fit with how many of how many are done, and the name of the next.

    Returns:
        The baselines, and a sentence for each that was left out.

    Raises:
        ValueError: for rows, a mask, a floor or a likelihood that cannot be used.
    """
    if likelihood not in LIKELIHOODS:
        raise ValueError(f"likelihood must be gaussian, bernoulli or columns; got {likelihood!r}; choose one of those.")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be a whole number from 0 to {2**32 - 1}; got {seed!r}; 0 is usual.")
    rows, seen = _checked(x, observed, likelihood)
    steps = dict({"gaussian": GAUSSIAN, "bernoulli": BERNOULLI, "columns": COLUMNS}[likelihood])
    if not made or (likelihood == "columns" and not columns):
        del steps["MADE"]
    found = [] if independent is None else [_independent_columns(rows.shape[1], independent)]
    floors = _checked_floor(floor, rows, seen, likelihood)
    task = prepared(rows, seen, likelihood, floors, seed, tuple(columns))
    left_out: list[str] = []
    for i, (name, step) in enumerate(steps.items()):
        if on_progress is not None:
            on_progress(i, len(steps), name)
        outcome = step(task)
        if isinstance(outcome, str):
            left_out.append(f"{name[0].upper()}{name[1:]} left out: {outcome}.")
        else:
            scorer, detail = outcome
            takes_missing = name != "MADE" or task.fit is None or task.fit.seen is not None
            found.append(Baseline(name, detail, likelihood, rows.shape[1], takes_missing, scorer))
    return tuple(found), tuple(left_out)


def _independent_columns(n_columns: int, independent: AbstractDistribution) -> Baseline:
    """The simplest model that columns of any kinds have."""

    def scorer(x: Numbers, seen: Seen) -> Numbers:
        mask = np.ones(x.shape, bool) if seen is None else seen
        return np.asarray(_log_probs(independent, jnp.asarray(x, "float32"), jnp.asarray(mask)), np.float64)

    name, detail = "independent columns", "families as in the model, fitted to each column by its moments"
    return Baseline(name, detail, "columns", n_columns, True, scorer)


@compiled
def _log_probs(of: AbstractDistribution, x: Array, observed: Array) -> Array:
    return jax.vmap(of.log_prob)(x, observed)


def _checked(
    x: ArrayLike, observed: ArrayLike | None, likelihood: str, n_columns: int | None = None
) -> tuple[Numbers, Seen]:
    """Rows with 0 in missing cells, and the mask; None if nothing is missing."""
    rows = np.asarray(x, np.float64)
    wanted = f"(rows, {'columns' if n_columns is None else n_columns})"
    fitting = n_columns is None and rows.size > 0
    if rows.ndim != 2 or not (fitting or rows.shape[1] == n_columns):
        least = " with at least one of each" if n_columns is None else ""
        raise ValueError(f"x must be an array {wanted}{least}; got the shape {rows.shape}; pass one row a datum.")
    seen: Seen = None if observed is None else np.asarray(observed, np.bool_)
    if seen is not None and seen.shape != rows.shape:
        raise ValueError(
            f"observed must have the shape of x, {rows.shape}; got {seen.shape}; mark each cell True or False."
        )
    if seen is not None:
        rows = np.where(seen, rows, 0.0)
        if n_columns is None and not seen.any(axis=0).all():
            column = int(np.argmin(seen.any(axis=0)))
            raise ValueError(
                f"observed must mark at least one cell in every column; got none in column {column}; leave it out."
            )
    wrong = ~np.isfinite(rows) if likelihood != "bernoulli" else (rows != 0) & (rows != 1)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        kind = "finite numbers" if likelihood != "bernoulli" else "zeros and ones for the likelihood bernoulli"
        raise ValueError(
            f"x must hold {kind} in observed cells; got {rows[row, column]} in row {row}, column {column}; "
            f"mark it as missing with observed, or correct it."
        )
    return rows, None if seen is None or seen.all() else seen


def _checked_floor(floor: ArrayLike | None, x: Numbers, seen: Seen, likelihood: str) -> Numbers:
    d = x.shape[1]
    if likelihood != "gaussian":
        return np.zeros(d)
    if floor is None:
        spread = np.sqrt(column_moments(x, seen, np.zeros(d))[1])
        # The mean of a constant column may be off by its last digit: that is no spread.
        return 1e-3 * np.where(spread > 1e-12 * np.abs(x).max(axis=0), spread, 1.0)
    least = np.asarray(floor, np.float64)
    if least.shape != (d,) or not (np.isfinite(least) & (least > 0)).all():
        raise ValueError(
            f"floor must be {d} positive numbers, a least standard deviation for every column; got {floor!r}; pass "
            f"None for a thousandth of each column's."
        )
    return least
