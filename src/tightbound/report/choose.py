"""What to show of what there is: which columns, which rows, which part of an axis. Arithmetic only, no pictures."""

from __future__ import annotations

import numpy as np

from tightbound.report.content import Array, ReportContent

MOST_ROWS_FOR_CHOICE = 2000


def spread_out(count: int, most: int) -> Array:
    """Return at most `most` of the positions 0 .. count - 1, evenly spread, in order."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))


def finite(values: Array) -> Array:
    """Return the finite entries, as one flat array of floats."""
    flat = np.asarray(values, dtype=float).ravel()
    return flat[np.isfinite(flat)]


def view_limits(*groups: Array) -> tuple[float, float]:
    """Return axis limits that show nearly all values, unless a few far ones would flatten the rest.

    The limits reach five interquartile ranges beyond the quartiles and hold at least the central 96 per cent, but no
    more than the values themselves.
    """
    values = finite(np.concatenate([np.ravel(np.asarray(group, dtype=float)) for group in groups]))
    if values.size == 0:
        return 0.0, 1.0
    first, third = np.quantile(values, [0.25, 0.75])
    reach = 5 * (third - first)
    low = max(values.min(), min(first - reach, np.quantile(values, 0.02, method="higher")))
    high = min(values.max(), max(third + reach, np.quantile(values, 0.98, method="lower")))
    if low >= high:
        low, high = values.min(), values.max()
    margin = 0.04 * (high - low) or max(0.5, 0.05 * abs(low))
    return float(low - margin), float(high + margin)


def bins(limits: tuple[float, float], rows: int, most: int = 40) -> list[float]:
    """Return the edges of a histogram's bins, more of them for more rows."""
    count = min(most, max(8, int(2 * np.sqrt(rows))))
    return [float(edge) for edge in np.linspace(*limits, count + 1)]


def count_outside(values: Array, limits: tuple[float, float]) -> int:
    """Return how many finite values lie outside `limits`."""
    known = finite(values)
    return int(np.sum((known < limits[0]) | (known > limits[1])))


def correlation(first: Array, second: Array) -> float:
    """Return the correlation of two columns over the rows where both are known; NaN where there is none."""
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 3 or np.ptp(first[both]) == 0 or np.ptp(second[both]) == 0:
        return float("nan")
    return float(np.corrcoef(first[both], second[both])[0, 1])


def telling_columns(data: Array, most: int) -> Array:
    """Return up to `most` columns: those most correlated with the rest, without near copies, in the table's order."""
    columns = data.shape[1]
    if columns <= most:
        return np.arange(columns)
    squared = _squared_correlations(data)
    followed = squared.sum(axis=0) - np.diagonal(squared)
    chosen = [int(np.argmax(followed))]
    while len(chosen) < most:
        new = 1 - squared[chosen].max(axis=0)
        score = (followed + 1e-6) * np.sqrt(np.clip(new, 0, 1))
        score[chosen] = -1
        chosen.append(int(np.argmax(score)))
    return np.sort(chosen)


def _squared_correlations(data: Array) -> Array:
    """Return squared correlations with missing cells at their column's mean; a constant column gets zeros."""
    rows = np.asarray(data[spread_out(len(data), MOST_ROWS_FOR_CHOICE)], dtype=float)
    known = np.isfinite(rows)
    mean = np.where(known, rows, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, rows - mean, 0)
    norm = np.sqrt((centred**2).sum(axis=0))
    unit = centred / np.where(norm > 0, norm, 1)
    squared = (unit.T @ unit) ** 2
    return np.asarray(squared * (norm > 1e-12 * (1 + np.abs(mean))))


def robust_scores(data: Array) -> Array:
    """Return how far each cell is from its column's median, in robust standard deviations (1.4826 times the MAD).

    Where over half of a column is one value, the MAD is zero and the plain standard deviation takes its place. Missing
    cells and constant columns score zero.
    """
    scores = np.zeros(data.shape)
    for column in range(data.shape[1]):
        values = np.asarray(data[:, column], dtype=float)
        known = values[np.isfinite(values)]
        if known.size == 0 or np.ptp(known) == 0:
            continue
        scale = 1.4826 * np.median(np.abs(known - np.median(known))) or known.std()
        scores[:, column] = np.nan_to_num((values - np.median(known)) / scale, nan=0.0, posinf=0.0, neginf=0.0)
    return scores


def r_squared(values: Array, reconstruction: Array) -> float:
    """Return the share of a column's variance that the reconstruction keeps, 1 - SSE / SST; NaN when it is constant."""
    both = np.isfinite(values) & np.isfinite(reconstruction)
    if both.sum() < 2:
        return float("nan")
    total = float(np.sum((values[both] - values[both].mean()) ** 2))
    return 1 - float(np.sum((values[both] - reconstruction[both]) ** 2)) / total if total > 0 else float("nan")


def lowest_rows(content: ReportContent, most: int) -> Array:
    """Return the positions of the rows with the lowest log p(x), lowest first."""
    known = np.flatnonzero(~np.isnan(content.log_evidence))
    order = np.argsort(content.log_evidence[known], kind="stable")
    return known[order[:most]]


def largest_kl(content: ReportContent) -> Array:
    """Return the latent dimensions, largest KL first."""
    return np.argsort(-np.nan_to_num(content.kl_per_dimension), kind="stable")


def aggregated_moments(content: ReportContent) -> tuple[Array, Array]:
    """Return mean and standard deviation, per latent dimension, of q(z given x) averaged over rows.

    By the law of total variance: the variance of the posterior means plus, when known, the mean posterior variance.
    """
    variance = np.var(content.latent_means, axis=0)
    if content.latent_scales is not None:
        variance = variance + np.mean(content.latent_scales**2, axis=0)
    return np.mean(content.latent_means, axis=0), np.sqrt(variance)


def bound_limits(content: ReportContent) -> tuple[float, float]:
    """Return limits for the learning curves that let early epochs leave the view, but never the best or last one."""
    curves = [curve for curve in (train_bound(content), validation_bound(content)) if curve is not None]
    values = finite(np.concatenate(curves)) if curves else np.zeros(0)
    if values.size == 0:
        return -1.0, 0.0
    top, early = float(values.max()), float(np.quantile(values, 0.15))
    ends = [float(finite(curve)[-1]) for curve in curves]
    bottom = max(float(values.min()), min(early - 0.3 * (top - early), *ends))
    margin = 0.05 * (top - bottom) or max(0.5, 0.02 * abs(top))
    return bottom - margin, top + margin


def train_bound(content: ReportContent) -> Array | None:
    """Return the training bound of each epoch, or None when there is none."""
    return _curve(content, "train_bound")


def validation_bound(content: ReportContent) -> Array | None:
    """Return the validation bound of each epoch, or None when there is none."""
    return _curve(content, "validation_bound")


def _curve(content: ReportContent, key: str) -> Array | None:
    curve = np.asarray(content.history.get(key, np.zeros(0)), dtype=float)
    return curve if np.isfinite(curve).any() else None


def best_position(content: ReportContent) -> int | None:
    """Return where the best epoch stands in the history, or None."""
    epochs = np.asarray(content.history.get("epoch", np.zeros(0)))
    found = np.flatnonzero(epochs == content.best_epoch) if content.best_epoch is not None else np.zeros(0, int)
    return int(found[0]) if found.size else None
