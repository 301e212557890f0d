"""What the user says of how a table is modelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

MULTINOMIALS = ("multinomial", "dirichlet_multinomial")
TOTAL = "total"
"""The exposure that is the sum of a row's counts."""


@final
@dataclass(frozen=True)
class Preprocessing:
    """What is said of a table before it is seen; the rest follows from the table (`preprocess`).

    Attributes:
        likelihood: "auto" (of columns in a mixed table or beside anything given, and for sparse counts; else Bernoulli
            when every value is 0 or 1, and Gaussian otherwise), "columns", "gaussian", "bernoulli", "multinomial" or
            "dirichlet_multinomial".
        binarize: draw every value as 0/1 with probability value/255 (or the value itself when all lie in [0, 1]) and
            model the draws as Bernoulli.
        scaling: "standard", or "none" to model numbers as they are.
        condition: columns that p(x | z, c) is given.
        exposure: a column that multiplies the means of counts; "total" for their sum; None.
        continuous, counts: families of the columns that name none.
        plain: model continuous columns with missing cells as Gaussian, without point masses, whatever the rest is.
    """

    likelihood: str = "auto"
    binarize: bool = False
    scaling: str = "standard"
    condition: tuple[str | int, ...] = ()
    exposure: str | int | None = None
    continuous: str = "normal_scores"
    counts: str = "auto"
    plain: bool = False

    @property
    def given(self) -> tuple[str | int, ...]:
        """The columns that are given: conditions, then an exposure."""
        exposure = self.exposure
        return self.condition if exposure is None or exposure == TOTAL else (*self.condition, exposure)

    @property
    def of_counts(self) -> bool:
        """Whether something was asked for that counts alone have."""
        return self.exposure is not None or self.likelihood in MULTINOMIALS or self.counts != "auto"

    @property
    def by_columns(self) -> bool:
        """Whether numbers too are modelled column by column."""
        return bool(self.given) or self.of_counts or self.likelihood == "columns"

    @property
    def of_row(self) -> str:
        """The likelihood of columns: "columns", or one of the whole row."""
        return "columns" if self.likelihood == "auto" else self.likelihood

    @property
    def family_of_counts(self) -> str:
        """Counts under an exposure are counts, whatever their mean is."""
        if self.likelihood in MULTINOMIALS:
            return "poisson"
        return "negative_binomial" if self.counts == "auto" and self.exposure is not None else self.counts
