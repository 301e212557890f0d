"""Positive: numbers above 0, with zeros as a point mass."""

from __future__ import annotations

from typing import final

import numpy as np

from tightbound.data.types.column import Column
from tightbound.data.types.line import ABOVE, Numeric
from tightbound.data.types.numbers import is_whole, point_masses, span
from tightbound.data.types.reading import Reading
from tightbound.data.types.rules import ENOUGH


@final
class Positive(Numeric):
    """No negative value among ten or more; zeros are a point mass, since a density on (0, inf) has none."""

    word = "positive"
    families = ABOVE

    def infer(self, reading: Reading) -> Column | None:
        """Numbers of which none is negative."""
        if not reading.is_numbers or reading.n < ENOUGH or reading.tally[0][0] < 0:
            return None
        distinct = reading.tally[0]
        rounded = ", whole but too large to be told from rounded measurements" if is_whole(distinct) else ""
        return self.found(reading, f"Numbers {span(distinct)}, none negative{rounded}")

    def masses(self, distinct: np.ndarray, counts: np.ndarray) -> tuple[float, ...]:
        """Zero is one as soon as it occurs."""
        found = point_masses(distinct, counts)
        return (0.0, *found) if distinct[0] == 0 and 0.0 not in found else found

    def tailed(self, values: np.ndarray) -> np.ndarray:
        """Tails on the scale of the logarithm."""
        return np.asarray(np.log(values))

    def outside(self, column: Column, numbers: np.ndarray) -> tuple[np.ndarray, str]:
        """What is not above 0 and no point mass."""
        should = "hold numbers above 0" + (" or 0 itself" if 0.0 in column.point_masses else "")
        return (numbers <= 0) & ~np.isin(numbers, column.point_masses), should

    def lowest(self, column: Column, values: np.ndarray) -> float:
        """One step of the grid, or a thousandth of the smallest value."""
        return column.grid or float(values.min(initial=np.inf)) * 1e-3
