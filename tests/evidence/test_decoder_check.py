"""The decoder's check on scores whose spread is known: the noise ratio that it reports is the one that made them."""

import numpy as np
import pytest
from scipy.special import ndtr

from tightbound.evidence.diagnostics.decoder import cell_fit
from tightbound.evidence.diagnostics.draws import WIDTHS, Drawn

N_ROWS, N_COLUMNS = 4000, 3


def drawn(ratio: float, share: float, rng: np.random.Generator) -> Drawn:
    """Cells whose noise is `ratio` times as wide as is assumed; of the scores' variance the posterior makes `share`."""
    score = rng.normal(size=(N_ROWS, N_COLUMNS)) * np.sqrt(share + (1 - share) * ratio**2)
    inside = np.stack([np.abs(score) < width for width in WIDTHS], axis=2).astype(float)
    nothing = np.zeros((N_ROWS, 1))
    return Drawn(
        nothing, nothing, nothing[:, 0], np.full(N_ROWS, 50.0), np.full(score.shape, share), inside, ndtr(score)
    )


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("ratio", [0.7, 1.0, 1.5])
def test_the_ratio_is_that_of_the_noise_alone(ratio: float, share: float) -> None:
    found = cell_fit(drawn(ratio, share, np.random.default_rng(0)), None)
    assert abs(np.log(found.pooled / ratio)) < 5 * found.error
    assert np.all(np.abs(np.log(found.ratio / ratio)) < 5 * found.column_error)
    assert found.error < 0.04


def test_its_error_is_the_spread_over_tables() -> None:
    """From both sides."""
    rng = np.random.default_rng(1)
    found = [cell_fit(drawn(1.5, 0.3, rng), None) for _ in range(150)]
    z = [np.log(each.pooled / 1.5) / each.error for each in found]
    assert 0.75 < np.std(z) < 1.25  # of 150: five of its own errors are 0.29
