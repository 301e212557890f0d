"""Pieces of a page: a section, and HTML in which whatever comes from outside is escaped."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Generic, NamedTuple, NewType, TypeVar, final

import numpy as np
from matplotlib.figure import Figure

from tightbound.estimator.formatting import value_text, with_error
from tightbound.report.style import inline_png, inline_svg

STYLESHEET = """
:root { color-scheme: light; --ink: #22272e; --muted: #5b6470; --rule: #dfe3e8; --tint: #f5f7f9; --blue: #1f5a8c;
  --orange: #b4530f; --sand: #fdf0dc; }
* { box-sizing: border-box; }
html { background: #fff; -webkit-text-size-adjust: 100%; }
body { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; color: var(--ink); line-height: 1.55;
  font-family: system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Roboto, Arial, sans-serif; font-size: 1rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .75rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--rule); }
p { margin: 0 0 .9rem; overflow-wrap: anywhere; }
.summary { font-size: 1.06rem; }
nav { font-size: .9rem; color: var(--muted); margin: 1.1rem 0; }
nav ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .15rem 1rem; }
a { color: var(--blue); text-decoration: none; }
a:hover, a:focus { text-decoration: underline; }
aside { background: var(--sand); border-left: 4px solid #d8973c; padding: .8rem 1rem; margin: 1.2rem 0;
  font-size: .95rem; }
aside h2 { font-size: .95rem; border: 0; margin: 0 0 .3rem; padding: 0; }
aside ul { margin: 0; padding-left: 1.1rem; overflow-wrap: anywhere; }
aside li + li { margin-top: .25rem; }
figure { margin: 0 0 1.6rem; }
.picture, .wide { overflow-x: auto; }
.picture svg, .picture img { display: block; width: calc(var(--share) * 100%); height: auto; }
.picture svg * { stroke-linejoin: round; stroke-linecap: butt; }
figcaption { font-size: .88rem; line-height: 1.45; color: var(--muted); }
figcaption { margin-top: .45rem; max-width: 42rem; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.4; font-variant-numeric: tabular-nums;
  min-width: 60%; }
.evidence, .settings { width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .38rem .9rem .38rem 0; border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-weight: 600; font-size: .82rem; color: var(--muted); border-bottom: 1.5px solid var(--muted);
  vertical-align: bottom; }
.ways summary { cursor: pointer; }
.ways .bar { display: flex; height: .7rem; margin-top: .25rem; min-width: 9rem; }
.ways .bar span { display: block; }
.ways ul { list-style: none; margin: .4rem 0 0; padding: 0; font-size: .84rem; }
.ways li span { display: inline-block; width: .7rem; height: .7rem; margin-right: .4rem; }
.number { text-align: right; }
tbody .number { white-space: nowrap; }
.error { color: var(--muted); }
.kind { white-space: nowrap; }
.lowest { font-size: .8rem; table-layout: fixed; width: min(100%, var(--columns) * 7rem); min-width: 0; }
.lowest td, .lowest th { padding-left: .3rem; padding-right: .3rem; overflow-wrap: anywhere; }
.lowest th:first-child { width: 3.6rem; }
.lowest .far { background: var(--sand); font-weight: 600; }
.lowest small { display: block; font-weight: 400; font-size: .76rem; color: var(--orange); }
h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; }
.health { width: 100%; }
.small { font-size: .84rem; margin-bottom: 1.2rem; width: 100%; }
.health, .small { line-height: 1.4; }
.health { font-size: .84rem; }
.health th, .health td, .small th, .small td { padding-right: .8rem; overflow-wrap: break-word; }
.small th:last-child, .small td:last-child, .health td:last-child { padding-right: 0; }
.health small, .small small { display: block; font-weight: 400; font-size: .76rem; color: var(--muted); }
.health .measured { white-space: normal; min-width: 6.5rem; max-width: 10rem; }
.health .verdict { min-width: 6rem; }
.columns td, .columns th { padding-top: .5rem; }
.columns th:first-child { overflow-wrap: break-word; max-width: 8.5rem; }
.columns .panel { width: 47%; padding-right: .6rem; }
.columns .panel svg { display: block; width: 100%; height: auto; min-width: 12rem; }
.anomalous .cells { overflow-wrap: anywhere; }
.mark { white-space: nowrap; font-weight: 600; }
.mark.problem, .flagged { color: var(--orange); }
.mark.problem { background: var(--sand); padding: 0 .3rem; margin-left: -.3rem; }
.mark.unknown, .mark.fine { font-weight: 400; color: var(--muted); }
.wide { margin-bottom: 1rem; }
figure .wide { margin-bottom: 0; }
.missing { color: var(--muted); }
.settings th { font-weight: 400; color: var(--muted); width: 35%; }
.settings td, .settings th { overflow-wrap: anywhere; }
footer { margin-top: 2.5rem; padding-top: .75rem; border-top: 1px solid var(--rule); font-size: .85rem;
  color: var(--muted); }
@media (max-width: 34rem) {
  body { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  .picture svg, .picture img { min-width: calc(var(--share) * 27rem); }
  .evidence { min-width: 40rem; }
  .health, .small { min-width: 32rem; }
  .lowest { width: calc(var(--columns) * 5.4rem); }
}
@media print {
  @page { margin: 16mm 15mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2 { break-after: avoid; margin-top: 1.6rem; }
  figure, aside, tr { break-inside: avoid; }
  .picture, .wide { overflow: visible; }
  .picture { max-width: 15cm; }
  thead { display: table-header-group; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""


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


Results = TypeVar("Results")
Part = TypeVar("Part")


@final
@dataclass(frozen=True)
class Section(Generic[Results, Part]):
    """One section of a page; a new one is a file in `sections` and a line in its list."""

    name: str
    """What links to it say."""
    title: str
    find: Callable[[Results], Part | None]
    """What of the results it shows; None where they have nothing of the kind."""
    draw: Callable[[Part], Markup]
    """Its paragraphs, tables and pictures."""

    def body(self, results: Results) -> Markup | None:
        """What it shows of these results, or None."""
        part = self.find(results)
        return None if part is None else self.draw(part)
