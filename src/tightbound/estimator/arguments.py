"""Arguments as scikit-learn has them."""

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from tightbound.estimator.settings import LARGEST_SEED
from tightbound.model.axes.parameters import MOST_ROWS, check_number


def seed_of(random_state: Any, repeatable: bool = False) -> int:
    """The seed that scikit-learn's `random_state` stands for."""
    # A fit that can be resumed must start from a seed that a second process finds again.
    if random_state is None and repeatable:
        return 0
    if isinstance(random_state, (int, np.integer)):
        check_number("random_state", random_state, 0, LARGEST_SEED, "0 is usual")
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def check_draws(n: Any) -> None:
    """Refuse (`ValueError`) what is no number of draws."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"n must be a whole number of at least 1; got {n!r}; say how many draws you want.")
    check_number("n", n, 1, MOST_ROWS, "draw fewer at a time")
