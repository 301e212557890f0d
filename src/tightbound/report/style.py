"""How pictures look, what they show of what there is, and the two that several sections share: images and forests."""

import base64
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from html import escape
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from tightbound.estimator.formatting import plural, short, signed
from tightbound.evidence import Difference
from tightbound.evidence.rows import spread_out

P = ParamSpec("P")

INK = "#22272e"
MUTED = "#6b7480"
RULE = "#d5d9df"
DATA = "#1f5a8c"
DATA_LIGHT = "#b9cfe2"
MODEL = "#d2691e"
PRIOR = "#b4bac2"
MISSING = (0.96, 0.82, 0.60)
# Paul Tol's "muted" colours (2021), dark ones first, with three that stay apart from them; markers repeat the message.
CATEGORIES = (
    *("#332288", "#cc6677", "#44aa99", "#ddaa33", "#882255", "#88ccee"),
    *("#117733", "#aa4499", "#999933", "#661100", "#6699cc", "#555555"),
)
MARKERS = ("o", "^", "s", "D")
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g}%")
WIDTH = 6.4  # inches: the full width of a page's column

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e9ecf0",
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.4,
    "svg.fonttype": "path",
    "svg.hashsalt": "tightbound",
    "figure.facecolor": "white",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw with matplotlib's defaults and this module's style, whatever the user has set; then put theirs back."""
    settings: Any = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
    settings.update(_STYLE)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=matplotlib.MatplotlibDeprecationWarning)
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        with matplotlib.rc_context(settings):
            yield


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make `draw` run under the report's style."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with style():
            return draw(*args, **kwargs)

    return drawn


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure, in inches, that can be saved without any window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def grid(axes: Axes, axis: str = "y") -> None:
    """Rule light lines across `axes`, and take the ticks off the ruled side."""
    if axis == "y":
        axes.grid(axis="y")
        axes.tick_params(axis="y", length=0)
    else:
        axes.grid(axis="x")
        axes.tick_params(axis="x", length=0)


def dimension_ticks(axes: Axes, order: Sequence[int] | NDArray[Any]) -> None:
    """Name latent dimensions along the lower edge, one at each whole number."""
    axes.set_xticks(range(len(order)), [str(at) for at in order], fontsize=7 if len(order) <= 24 else 5.5)
    axes.tick_params(axis="x", length=0, rotation=90 if len(order) > 32 else 0)
    axes.set_xlim(-0.7, max(len(order), 3) - 0.3)
    axes.set_xlabel("latent dimension, largest KL first")


def label_text(text: object, longest: int = 18) -> str:
    """Return `text` on one line, shortened for an axis."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def middle_text(text: object, longest: int) -> str:
    """Return `text` shortened in its middle: long names differ at their ends as often as not."""
    line = label_text(text, 10_000)
    return line if len(line) <= longest else f"{line[: longest - 7]}…{line[-6:]}"


def share_text(share: float) -> str:
    """Return a share in per cent, as fine as matters."""
    if 0 < share < 0.001:
        return "< 0.1%"
    return f"{100 * share:.1f}%" if share < 0.0995 else f"{100 * share:.0f}%"


def to_png(figure: Figure, dpi: int = 180) -> bytes:
    """Return the figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def to_svg(figure: Figure) -> str:
    """Return the figure as the text of an SVG element, without file header or metadata."""
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL).strip()


def inline_svg(figure: Figure, name: str, alt: str) -> str:
    """Return the figure as an SVG element of an HTML page; its ids start with `name`, `alt` is its alternative text."""
    text = to_svg(figure)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'xlink:href="#', f'href="#{name}-', text).replace("xlink:href", "href")
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    box = re.search(r'viewBox="([^"]+)"', text)
    opening = (
        f'<svg viewBox="{box.group(1) if box else ""}" role="img" aria-label="{escape(alt)}" style="{_share(figure)}">'
    )
    return opening + text[text.index(">") + 1 :]


def inline_png(figure: Figure, alt: str) -> str:
    """Return the figure as an HTML image whose bytes are in the page."""
    data = base64.b64encode(to_png(figure)).decode("ascii")
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return (
        f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}" width="{width}" height="{height}" '
        f'style="{_share(figure)}">'
    )


def _share(figure: Figure) -> str:
    """Return the figure's share of the column's width, so that text has one size in every figure."""
    return f"--share:{figure.get_figwidth() / WIDTH:.3f}"


Array = NDArray[Any]
Limits = tuple[float, float]

MOST_ROWS_FOR_CHOICE = 2000


def finite(values: Array) -> Array:
    """Return the finite entries, as one flat array of floats."""
    flat = np.asarray(values, dtype=float).ravel()
    return flat[np.isfinite(flat)]


def view_limits(*groups: Array) -> Limits:
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


def bins(limits: Limits, rows: int, most: int = 40) -> list[float]:
    """Return the edges of a histogram's bins, more of them for more rows."""
    count = min(most, max(8, int(2 * np.sqrt(rows))))
    return [float(edge) for edge in np.linspace(*limits, count + 1)]


def count_outside(values: Array, limits: Limits) -> int:
    """Return how many finite values lie outside `limits`."""
    known = finite(values)
    return int(np.sum((known < limits[0]) | (known > limits[1])))


def largest_first(values: Array) -> Array:
    """Return positions, that of the largest value first."""
    return np.argsort(-np.nan_to_num(values), kind="stable")


def mean_and_spread(values: Array) -> str:
    """Return mean and standard deviation of the finite entries in words."""
    known = finite(values)
    return f"{short(float(known.mean()))} and {short(float(known.std()))}" if known.size else "no values"


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


def which_columns(columns: int, shown: int) -> str:
    """Say how many `telling_columns` are shown of how many; nothing where all are."""
    if shown == columns:
        return ""
    return f"{shown} of {columns} columns: those that the others follow most closely, without near copies. "


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


def _errors(differences: Sequence[Difference]) -> Array:
    return np.nan_to_num([each.standard_error for each in differences])


def limits_of(differences: Sequence[Difference]) -> Limits:
    """Return limits that show zero and nearly all differences, whole whiskers included."""
    value, error = np.array([each.value for each in differences], float), _errors(differences)
    ends = finite(np.concatenate([[0.0], value - 2 * error, value + 2 * error]))
    sizes = np.sort(np.abs(ends))
    usual = sizes[: max(1, int(0.8 * sizes.size))].max(initial=0.0)
    reach = 8 * max(usual, float(np.median(sizes)))
    kept = ends[(np.abs(ends) <= reach) | (reach == 0)]
    low, high = float(min(kept.min(), 0.0)), float(max(kept.max(), 0.0))
    margin = 0.06 * (high - low) or 0.05
    return low - margin, high + margin


def draw_forest(axes: Axes, differences: Sequence[Difference], reference: str) -> None:
    """Draw a dot and two standard errors either side for each model, its figures to the right; far ones as arrows."""
    limits, count = limits_of(differences), len(differences)
    value, error, place = np.array([each.value for each in differences], float), _errors(differences), np.arange(count)
    own = np.array([each.name == reference for each in differences], bool)
    inside = (limits[0] <= value) & (value <= limits[1])
    for chosen, colour, marker in (
        (own, INK, "D"),
        (~own & (value <= 0), DATA, "o"),
        (~own & (value > 0), MODEL, "o"),
    ):
        whole, left, right = chosen & inside, chosen & (value < limits[0]), chosen & (value > limits[1])
        style: dict[str, Any] = {
            "color": colour,
            "markersize": 4.5,
            "capsize": 2,
            "linestyle": "none",
            "marker": marker,
        }
        if whole.any():
            axes.errorbar(value[whole], place[whole], xerr=2 * error[whole], **style)
        for far, at, arrow in ((left, 0.02, "<"), (right, 0.98, ">")):
            edge = np.full(int(far.sum()), limits[0] + at * (limits[1] - limits[0]))
            axes.plot(edge, place[far], arrow, color=colour, markersize=6)
    for line, each in enumerate(differences):
        said = "reference" if own[line] else signed(each.value, each.standard_error).replace("-", "−")
        axes.text(1.02, line, said, transform=axes.get_yaxis_transform(), va="center", ha="left", fontsize=7)
    axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
    axes.set_yticks(range(count), [label_text(each.name, 26) for each in differences])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=limits, ylim=(max(count, 1) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(f"mean log p(x) minus that of {label_text(reference, 30)}, nats a row")
    axes.spines["left"].set_visible(False)
    grid(axes, "x")


def told(difference: Difference) -> str:
    """Return one difference in words."""
    return f"{difference.name} {signed(difference.value, difference.standard_error)}"


def arrows(differences: Sequence[Difference]) -> str:
    """Say how many models lie beyond the axis; nothing where none does."""
    low, high = limits_of(differences)
    far = sum(each.value < low or each.value > high for each in differences)
    return f" Arrows: {plural(far, 'model')} beyond the axis." if far else ""
