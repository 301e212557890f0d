"""The health of a fit: checks of a fitted model, each with a verdict, a threshold and one sentence."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from numpy.typing import NDArray

from tightbound.evidence.diagnostics.decoder import CellFit, cell_fit, decoder_calibration
from tightbound.evidence.diagnostics.draws import draw, has_gaussian_cells, log_aggregated, simulate
from tightbound.evidence.diagnostics.encoder import (
    Calibration,
    Information,
    calibration,
    collapse,
    encoder_calibration,
    encoder_overfitting,
    information,
    prior_match,
)
from tightbound.evidence.diagnostics.findings import Finding, Health, History, Verdict, overfitting
from tightbound.evidence.diagnostics.samples import copies, filled, nearest, sample_likeness
from tightbound.evidence.rows import Latents, encode
from tightbound.learn import AbstractInference
from tightbound.model import GenerativeModel

__all__ = ["Finding", "Health", "History", "Verdict", "encoder_overfitting", "examine"]

Mask = NDArray[np.bool_] | None


def examine(
    p: GenerativeModel,
    q: AbstractInference,
    x: NDArray[Any],
    observed: Mask = None,
    *,
    likelihood: str,
    train: NDArray[Any] | None = None,
    train_observed: Mask = None,
    history: History | None = None,
    recorded: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
    names: Sequence[str] | None = None,
    key: PRNGKeyArray,
    most_rows: int = 1000,
) -> Health:
    """Examine a fit on rows it has not seen.

    Args:
        p, q: generative model and inference.
        x: (n, d) held-out rows in the model's units; observed: (n, d) which cells count, None for all.
        likelihood: "gaussian" where the rows are continuous; the decoder's intervals are judged there alone.
        train, train_observed: the rows that were learnt from, for copies.
        history: bounds by epoch, for overfitting.
        recorded: rows (m, d) as the data's instrument would have recorded them, on its grid: a classifier would else
            tell samples by their digits alone (None: as they are).
        names: of the columns, to say by which samples are told from rows.
        key: the noise of everything; also chooses the rows.
        most_rows: of more rows this many are chosen at random, and so many are drawn from the model.

    Returns a `Health` with seven findings: collapse, prior, encoder, decoder, samples, copies, overfitting.
    Raises `ValueError` for rows that do not fit the model or are not finite, and for most_rows below 2.
    Example: `examine(p, q, held_out, likelihood="gaussian", key=jax.random.key(0)).problems`.
    """
    _check_most(most_rows)
    x, observed = _checked(p, x, observed, "x")
    key_host, key_simulate, key_draw = jax.random.split(key, 3)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key_host)))
    x, observed = _chosen(x, observed, most_rows, rng)
    simulated = simulate(p, q, most_rows, observed, key=key_simulate)
    judged = likelihood == "gaussian" and has_gaussian_cells(p)
    drawn = draw(p, q, x, observed, judged=judged, key=key_draw)
    latents = encode(p, q, x, observed)
    carried = information(latents, drawn, log_aggregated(p, q, drawn), discrete=_are_codes(simulated.z))
    matching, prior_auc, marginals = prior_match(drawn.z, simulated.z[: len(drawn.z)], rng=rng)
    ranks = calibration(simulated.pit, latents.active)
    cells = cell_fit(drawn, observed) if judged else None
    encoder = encoder_calibration(ranks, latents.active, len(simulated.z))
    asis = recorded or (lambda rows: rows)
    rows, samples, known = _comparable(asis(x), observed, asis(simulated.x), p, train, train_observed)
    likeness, samples_auc, energy = sample_likeness(samples, rows, names=names, rng=rng)
    near = None if known is None else _near(samples, rows, known)
    return Health(
        findings=(
            collapse(latents.active, carried, len(x)),
            matching,
            encoder,
            decoder_calibration(cells, len(x), encoder.verdict),
            likeness,
            copies(*(near or (None, None))),
            overfitting(history),
        ),
        **_pictured(latents, carried, marginals, ranks, cells, near),
        prior_auc=prior_auc,
        samples_auc=samples_auc,
        energy=energy,
        n_rows=len(x),
        n_simulated=len(simulated.z),
    )


def _pictured(
    latents: Latents,
    carried: Information,
    marginals: NDArray[Any],
    ranks: Calibration,
    cells: CellFit | None,
    near: tuple[NDArray[Any], NDArray[Any]] | None,
) -> dict[str, Any]:
    """The arrays that pictures need, by their names in `Health`."""
    return {
        "kl_per_dimension": latents.kl_per_dimension,
        "information_per_dimension": carried.per_dimension,
        "information": carried.total,
        "aggregated_kl": carried.aggregated_kl,
        "active": latents.active,
        "marginals": marginals,
        "encoder_histogram": ranks.histogram,
        "encoder_spread": ranks.spread,
        "encoder_bias": ranks.bias,
        "decoder_histogram": None if cells is None else cells.histogram,
        "coverage": None if cells is None else cells.coverage,
        "noise_ratio": None if cells is None else cells.ratio,
        "sample_distances": None if near is None else near[0],
        "held_out_distances": None if near is None else near[1],
    }


def _comparable(
    x: NDArray[Any],
    observed: Mask,
    samples: NDArray[Any],
    p: GenerativeModel,
    train: NDArray[Any] | None,
    train_observed: Mask,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Held-out rows, as many samples with their gaps (NaN), and complete training rows, in standard deviations of the
    held-out cells around their mean."""
    held = x
    if observed is not None:
        # A column without any observed cell has no mean.
        held = np.where(observed, x, np.where(np.sum(observed, axis=0) > 0, np.nan, 0)[None, :])
    center, sd = np.nanmean(held, axis=0), np.nanstd(held, axis=0)
    # A column that does not vary is compared in its own units.
    sd = np.where(sd > 0, sd, 1)
    samples = samples[: len(x)]
    masks = None if observed is None else observed[: len(samples)]
    known = None
    if train is not None:
        train, train_observed = _checked(p, train, train_observed, "train")
        known = (filled(train, train_observed, center) - center[None, :]) / sd[None, :]
    gap = np.full_like(center, np.nan)
    rows, drawn = filled(x, observed, gap), filled(samples, masks, gap)
    return (rows - center[None, :]) / sd[None, :], (drawn - center[None, :]) / sd[None, :], known


def _are_codes(z: NDArray[Any]) -> bool:
    return bool(np.isin(z, (0, 1)).all())


def _near(samples: NDArray[Any], rows: NDArray[Any], known: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Distances of samples and of held-out rows to the nearest training row, gaps being at the mean."""
    return nearest(np.nan_to_num(samples), known), nearest(np.nan_to_num(rows), known)


def _check_most(most_rows: Any) -> None:
    if not isinstance(most_rows, int | np.integer) or most_rows < 2:
        raise ValueError(f"most_rows must be a whole number of at least 2; got {most_rows!r}; 1000 is usual.")


def _chosen(x: NDArray[Any], observed: Mask, most: int, rng: np.random.Generator) -> tuple[NDArray[Any], Mask]:
    # In random order always: rows that come sorted must not put all of one kind among the first few hundred.
    rows = rng.permutation(len(x))[:most]
    return x[rows], None if observed is None else observed[rows]


def _checked(p: GenerativeModel, x: NDArray[Any], observed: Mask, name: str) -> tuple[NDArray[Any], Mask]:
    """The rows in the model's precision and their mask (None where all cells count)."""
    d = p.decoder.head.dim
    if x.ndim != 2 or x.shape[1] != d or len(x) < 2:
        raise ValueError(
            f"{name} must have at least 2 rows of {d} cells; got the shape {x.shape}; give it as (n, {d})."
        )
    if observed is not None and observed.shape != x.shape:
        raise ValueError(
            f"The mask of {name} must have its shape {x.shape}; got {observed.shape}; give one value for every cell."
        )
    bad = ~np.isfinite(x) if observed is None else ~np.isfinite(x) & observed
    if bad.any():
        i, j = np.argwhere(bad)[0]
        raise ValueError(
            f"{name} must have finite values where it is observed; got {x[i, j]} in row {i + 1}, column {j + 1}; mark "
            "it as not observed or leave the row out."
        )
    dtype = jax.eval_shape(lambda k: p.sample(key=k)[0], jax.random.key(0)).dtype
    return np.asarray(x, dtype), None if observed is None or observed.all() else observed
