"""Figures for rows that are images: grids of data, samples, reconstructions, and the rows the model finds oddest."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tightbound.report.choose import finite, lowest_rows, spread_out
from tightbound.report.content import Array, ReportContent
from tightbound.report.style import DATA, MISSING, MODEL, WIDTH, new_figure, styled

MOST_SAMPLES = 64
MOST_RECONSTRUCTIONS = 24
MOST_LOWEST = 16


def intensity_range(data: Array) -> tuple[float, float]:
    """Return the values shown black and white: 0 to 1 or 0 to 255 where the data look so, else the data's own range."""
    values = finite(data)
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if low >= 0 and 0.5 < high <= 1:
        return 0.0, 1.0
    if low >= 0 and 128 < high <= 255:
        return 0.0, 255.0
    return low, high if high > low else low + 1


def as_pictures(rows: Array, shape: tuple[int, ...], limits: tuple[float, float]) -> Array:
    """Return (n, height, width, 3) colours between 0 and 1; missing pixels are sand-coloured."""
    channels = shape[2] if len(shape) == 3 else 1
    values = np.asarray(rows, dtype=float).reshape(len(rows), shape[0], shape[1], channels)
    colours = np.clip((values - limits[0]) / (limits[1] - limits[0]), 0, 1)
    colours = np.broadcast_to(colours, (*colours.shape[:3], 3)) if channels == 1 else colours[..., :3]
    missing = np.isnan(colours).any(axis=-1, keepdims=True)
    return np.where(missing, np.asarray(MISSING), colours)


def mosaic(pictures: Array, columns: int) -> Array:
    """Return one (height, width, 3) picture with `pictures` row by row, white between them."""
    count, height, width, _ = pictures.shape
    gap = max(1, min(height, width) // 12)
    lines = -(-count // columns)
    sheet = np.ones((lines * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for position, picture in enumerate(pictures):
        top, left = (position // columns) * (height + gap), (position % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def _show(axes: Axes, sheet: Array) -> None:
    axes.imshow(sheet, interpolation="auto", aspect="equal")
    axes.set_axis_off()


@styled
def image_samples(content: ReportContent) -> Figure:
    """Draw a grid of data beside a grid of samples from the model, in one scale of intensity."""
    shape, limits = image_shape(content), intensity_range(content.data)
    data = content.data[spread_out(len(content.data), MOST_SAMPLES)]
    samples = content.samples[:MOST_SAMPLES]
    columns = max(1, int(np.ceil(np.sqrt(max(len(data), len(samples))))))
    sheets = [mosaic(as_pictures(rows, shape, limits), columns) for rows in (data, samples) if len(rows)]
    side = WIDTH / 2 - 0.1 if columns > 3 else 1.0 * columns
    tallest = max(sheet.shape[0] / sheet.shape[1] for sheet in sheets)
    figure = new_figure(min(8.0, side * tallest + 0.3), width=2 * side + 0.2)
    panels = figure.subplots(1, 2, squeeze=False)[0]
    for axes, sheet, name, colour in zip(panels, sheets, ("data", "samples"), (DATA, MODEL), strict=False):
        axes.set_title(name, color=colour, loc="left", fontweight="bold")
        _show(axes, sheet)
        axes.set_anchor("NW")
    for axes in panels[len(sheets) :]:
        axes.set_axis_off()
    return figure


@styled
def image_reconstructions(content: ReportContent) -> Figure:
    """Draw rows of data, each over its reconstruction, in one scale of intensity."""
    shape, limits = image_shape(content), intensity_range(content.data)
    chosen = spread_out(len(content.data), MOST_RECONSTRUCTIONS)
    columns = min(12, len(chosen))
    blocks = [chosen[start : start + columns] for start in range(0, len(chosen), columns)]
    width = min(WIDTH, 1.6 + 0.8 * columns)
    height = len(blocks) * (2.1 * (width - 1.2) / columns * shape[0] / shape[1] + 0.15)
    figure = new_figure(min(9.0, height), width=width)
    for axes, block in zip(figure.subplots(len(blocks), 1, squeeze=False)[:, 0], blocks, strict=True):
        pairs = np.ones((2, columns, shape[0], shape[1], 3))
        pairs[0, : len(block)] = as_pictures(content.data[block], shape, limits)
        pairs[1, : len(block)] = as_pictures(content.reconstructions[block], shape, limits)
        _show(axes, mosaic(pairs.reshape(-1, *pairs.shape[2:]), columns))
        axes.set_anchor("E")
        for name, colour, middle in (("data", DATA, 0.75), ("reconstruction", MODEL, 0.25)):
            axes.text(-0.01, middle, name, transform=axes.transAxes, ha="right", va="center", color=colour)
    return figure


@styled
def image_lowest_rows(content: ReportContent) -> Figure:
    """Draw the images with the lowest log p(x), each with its row number and log p(x)."""
    shape, limits = image_shape(content), intensity_range(content.data)
    chosen = lowest_rows(content, MOST_LOWEST)
    columns = min(8, max(1, len(chosen)))
    lines = -(-len(chosen) // columns) or 1
    cell = WIDTH / 8
    figure = new_figure(lines * (min(2.0, cell * shape[0] / shape[1]) + 0.35), width=max(1.2, cell * columns))
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    pictures = as_pictures(content.data[chosen], shape, limits)
    for axes in panels:
        axes.set_axis_off()
    for axes, picture, row in zip(panels, pictures, chosen, strict=False):
        _show(axes, picture)
        text = f"row {content.row_numbers[row]}\n{content.log_evidence[row]:.1f}"
        axes.text(0.5, -0.05, text, transform=axes.transAxes, ha="center", va="top", fontsize=7)
    return figure


def image_shape(content: ReportContent) -> tuple[int, ...]:
    """Return the shape of one image, or say that rows are not images."""
    if content.image_shape is None:
        raise ValueError(
            "the report's image_shape must be (height, width) or (height, width, 3) to draw images, but is None: "
            "draw table_samples or table_reconstructions instead"
        )
    return content.image_shape
