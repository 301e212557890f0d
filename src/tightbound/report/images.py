"""Rows that are images: how they become pictures."""

import numpy as np
from matplotlib.axes import Axes

from tightbound.report.choose import Array, Limits, finite
from tightbound.report.style import MISSING


def intensity_range(data: Array) -> Limits:
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


def as_pictures(rows: Array, shape: tuple[int, ...], limits: Limits) -> Array:
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


def show_picture(axes: Axes, sheet: Array) -> None:
    """Draw one picture, without an axis around it."""
    axes.imshow(sheet, interpolation="auto", aspect="equal")
    axes.set_axis_off()


def missing_pixels(data: Array) -> str:
    """Say how missing pixels are shown, where there are any."""
    return " Missing pixels are sand-coloured." if np.isnan(data).any() else ""
