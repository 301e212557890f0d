"""How every figure looks, and how a figure becomes text: one palette, one font, one scale.

Figures are matplotlib `Figure` objects drawn under a local style: no pyplot, and the user's rcParams stay untouched.
"""

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
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

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
