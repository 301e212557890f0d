"""What a fitted estimator answers beside scores: samples, fillings, anomalous rows, conditional distributions."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from sklearn.utils.validation import check_is_fitted

from tightbound.data import Table
from tightbound.estimator.arguments import check_draws, seed_of
from tightbound.estimator.detection import Detection, detect
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.given import Conditional, condition, sample_given
from tightbound.estimator.imputation import Imputation, impute
from tightbound.estimator.judges import Judge, anomaly_scores
from tightbound.model.axes.parameters import MOST, MOST_DRAWS, check_number


class AnswersMixin:
    """Readings of one fitted p(x)."""

    def _answering(self, X: Any) -> tuple[FittedModel, Table]:
        check_is_fitted(self)
        own: Any = self
        return own.fitted_, own._table(X)

    def sample(self, n: int = 1, random_state: Any = None, *, given: Mapping[str, Any] | None = None) -> Any:
        """n rows drawn from p(x), or from p(x | given), in the units, dtypes and columns of the data.

        Args:
            n: how many.
            random_state: of the noise.
            given: for a column a value, a range (low, high) with None for an open end, or a set of values.

        Raises `ValueError` when no row of the model satisfies what is given.
        Example: `vae.sample(100, given={"age": (40, None), "sex": "F"})`.
        """
        check_is_fitted(self)
        check_draws(n)
        model = cast(Any, self).fitted_
        seed = seed_of(random_state)
        if not given:
            values, _ = model.sample(int(n), seed)
            return model.encoding.give_back(values, rounded=True)
        return model.encoding.give_back(sample_given(model, int(n), given, seed), rounded=True)

    def impute(
        self,
        X: Any,
        n_draws: int | None = None,
        *,
        interval: float | None = None,
        point: str = "typical",
        n_samples: int = 1000,
        random_state: Any = 0,
    ) -> Imputation:
        """Fill in the missing cells of X from p(x_missing | x_observed).

        Args:
            X: rows with missing cells.
            n_draws: completions wanted beside the point imputations.
            interval: probability of the intervals wanted, between 0 and 1.
            point: "typical" (means of numbers, medians of ordinal levels, the most probable of other levels) or "mean"
                (also of columns whose levels are numbers).
            n_samples: latents of a row whose importance weights are uneven; others make do with fewer.
            random_state: of the noise.

        Returns an `Imputation`: `values` in the container and types of X with observed cells bit for bit, `lower` and
        `upper`, `draws`.
        Example: `vae.impute(X, interval=0.9).values`.
        """
        if n_draws is not None:
            check_number("n_draws", n_draws, 1, MOST_DRAWS, "20 is usual")
        check_number("n_samples", n_samples, 1, MOST, "1000 is usual")
        model, table = self._answering(X)
        return impute(
            model,
            table,
            n_draws=n_draws,
            interval=interval,
            point=point,
            n_samples=int(n_samples),
            seed=seed_of(random_state),
        )

    def detect(
        self,
        X: Any,
        reference: Any = None,
        *,
        level: float = 0.1,
        scores: Sequence[str] = (),
        explain: int = 20,
        random_state: Any = 0,
    ) -> Detection:
        """Which rows of X are anomalous, how surely, and because of which cells.

        Args:
            X: rows to judge.
            reference: ordinary rows that the model was not fitted to (None: those that `fit` held out, by the scores
                that are kept with the model).
            level: share of false discoveries to be expected among flagged rows, at most.
            scores: further ones: "regret", "typicality", "reconstruction".
            explain: how many of the most anomalous rows get their most anomalous cells.
            random_state: of the noise.

        Returns a `Detection`: `score`, `p_value`, `q_value`, `flag`, `cells`; its `repr` is a table.
        Example: `vae.detect(X_new, X_ordinary).flag`.
        """
        model, table = self._answering(X)
        seed = seed_of(random_state)
        if reference is None:
            judge = Judge.of(cast(Any, self)._with_reference())
        else:
            judge = Judge.of(model, self._answering(reference)[1], seed=seed)
        return detect([judge], table, level=level, scores=tuple(scores), explain=explain, seed=seed)

    def conditional(
        self, X: Any, target: str, given: Sequence[str] | None = None, *, n_samples: int = 1000, random_state: Any = 0
    ) -> Conditional:
        """The distribution of one column given any others, for every row of X.

        Args:
            X: rows; the target may be missing in them, and is not looked at.
            target: a column.
            given: columns to condition on (None: all others).
            n_samples: latents a row.
            random_state: of the noise.

        Returns a `Conditional`: `predicted`; `probabilities` of levels; `median`, `interval(0.9)` of numbers.
        Example: `vae.conditional(X, "income", given=["age", "education"]).probabilities`.
        """
        check_number("n_samples", n_samples, 1, MOST, "1000 is usual")
        model, table = self._answering(X)
        return condition(model, table, target, given, n_samples=int(n_samples), seed=seed_of(random_state))

    def anomaly_scores(self, X: Any) -> np.ndarray:
        """log p of every row's observed cells, (n,) nats, found in the same way for all: low is anomalous."""
        return anomaly_scores(*self._answering(X))
