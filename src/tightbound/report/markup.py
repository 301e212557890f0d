"""Pieces of HTML. Whatever comes from outside is escaped here; a `Markup` is text that already is HTML."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple, NewType

import numpy as np
from matplotlib.figure import Figure

from tightbound.estimator.formatting import value_text, with_error
from tightbound.report.style import inline_png, inline_svg
from tightbound.report.stylesheet import STYLESHEET

Markup = NewType("Markup", str)


class Words(NamedTuple):
    """What goes with one picture: a text that says what it shows, and one that says how to read it."""

    alt: str
    caption: str


def document(title: str, parts: Iterable[Markup]) -> str:
    """Return a whole HTML page, which needs no other file, no network and no script."""
    head = join(
        [
            Markup('<meta charset="utf-8">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            element("title", text(title)),
            element("style", Markup(STYLESHEET)),
        ]
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{join(parts)}\n</body>\n</html>\n'


def opening(title: str, summary: str) -> Markup:
    """Return the heading of a page and what it is about."""
    lines = [element("h1", text(title))]
    return join([*lines, element("p", text(summary), class_="summary")] if summary else lines)


def notes(messages: Sequence[str]) -> Markup:
    """Return a box of messages; nothing where there are none."""
    if not messages:
        return Markup("")
    items = join(element("li", text(message)) for message in messages)
    return element("aside", join([element("h2", text("Worth knowing")), element("ul", items)]), id="messages")


def footer(unit: str) -> Markup:
    """Return the last line of a page, which says what log p(x) is measured in."""
    return element("footer", text(f"Written by tightbound. log p(x) is in {unit}."))


def text(value: object) -> Markup:
    """Return `value` as text that means itself in HTML."""
    return Markup(escape(str(value)))


def join(pieces: Iterable[Markup]) -> Markup:
    """Return the pieces one after the other."""
    return Markup("\n".join(pieces))


def element(tag: str, content: Markup, **attributes: str) -> Markup:
    """Return `<tag ...>content</tag>`; write `class_` for the attribute `class`, `_` for `-`."""
    written = "".join(f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"' for name, value in attributes.items())
    return Markup(f"<{tag}{written}>{content}</{tag}>")


def paragraph(sentence: str) -> Markup:
    """Return one paragraph of plain text."""
    return element("p", text(sentence))


def section(name: str, title: str, *pieces: Markup) -> Markup:
    """Return a section that can be linked to by `name`."""
    return element("section", join([element("h2", text(title)), *pieces]), id=name)


def picture(name: str, figure: Figure, words: Words, *, dense: bool = False) -> Markup:
    """Return a figure with its words: a PNG when `dense` (many points, images), else an SVG."""
    name = f"figure-{name}"
    drawn = inline_png(figure, words.alt) if dense else inline_svg(figure, name, words.alt)
    frame = element("div", Markup(drawn), class_="picture")
    return element("figure", join([frame, element("figcaption", text(words.caption))]), id=name)


def table(head: Sequence[Markup], rows: Iterable[Sequence[Markup]], caption: str, **attributes: str) -> Markup:
    """Return a table, in a frame that scrolls when it is wider than the page. The entries are whole cells."""
    body = join(element("tr", Markup("".join(cells))) for cells in rows)
    parts = [element("thead", element("tr", Markup("".join(head)))), element("tbody", body)]
    frame = element("div", element("table", join(parts), **attributes), class_="wide")
    return element("figure", join([frame, element("figcaption", text(caption))])) if caption else frame


def heading(name: str, *, number: bool = False) -> Markup:
    """Return the head of a column; `number` aligns it with the numbers below."""
    return element("th", text(name), scope="col", **({"class_": "number"} if number else {}))


def cell(value: object, *, number: bool = False) -> Markup:
    """Return a cell of plain text."""
    return element("td", text(value), **({"class_": "number"} if number else {}))


def measured(value: float, error: float, *, sign: bool = False) -> Markup:
    """Return a cell with a number and its error, or a dash where there is none; `sign`: with a plus above zero."""
    if not np.isfinite(value):
        return cell("–" if np.isnan(value) else value_text(value, error), number=True)
    _, width = with_error(value, error)
    shown = text(("+" if sign and value > 0 else "") + value_text(value, error))
    if width:
        shown = Markup(shown + element("span", text(f" ± {width}"), class_="error"))
    return element("td", shown, class_="number")


def breakable(name: str) -> Markup:
    """Return a name that a narrow cell breaks where a person would: after joining marks."""
    return Markup(re.sub(r"([_.\-/])(?=.)", r"\1<wbr>", text(name)))
