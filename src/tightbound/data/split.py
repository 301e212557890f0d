"""Rows to fit on and rows to validate on."""

from __future__ import annotations

import numpy as np

from tightbound.data.errors import complain


def split(n: int, fraction: float, seed: int, maximum: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation rows: disjoint, sorted, the same for the same seed.

    Args:
        n: number of rows.
        fraction: share of the rows for validation, at least 0 and below 1. Above 0, both parts have a row when n >= 2.
        seed: of the choice.
        maximum: largest number of validation rows, or None.

    Returns:
        Indices of the training rows and of the validation rows.

    Raises:
        DataError: for a fraction outside [0, 1).
    """
    if not 0 <= fraction < 1:
        raise complain(
            "The validation fraction", "be at least 0 and below 1", f"it is {fraction}", "choose, for instance, 0.1"
        )
    wanted = 0 if fraction == 0 or n < 2 else min(max(round(n * fraction), 1), n - 1)
    if maximum is not None:
        wanted = min(wanted, max(maximum, 1))
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[wanted:]), np.sort(order[:wanted])
