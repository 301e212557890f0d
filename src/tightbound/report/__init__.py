"""Pictures and one self-contained HTML page: what was fitted, how far to trust it, what it has learnt."""

from collections.abc import Sequence
from typing import Any

from tightbound.estimator.evaluation import Evaluation
from tightbound.evidence import Comparison
from tightbound.report.page import (
    Markup,
    Results,
    Section,
    document,
    element,
    footer,
    join,
    notes,
    opening,
    section,
    text,
)
from tightbound.report.sections import OF_COMPARISON, OF_EVALUATION

__all__ = ["render", "render_comparison"]


def render(found: Evaluation, title: str) -> str:
    """Return the whole report as one HTML page, which needs no other file, no network and no script."""
    shown = _drawn(OF_EVALUATION, found)
    links = [element("li", element("a", text(part.title), href=f"#{part.name}")) for part in shown]
    contents = element("nav", element("ul", join(links)), aria_label="Contents")
    messages = notes((*found.verdicts, *found.training.messages))
    return document(title, [opening(title, found.about), messages, contents, *shown.values(), footer(found.unit)])


def render_comparison(ranked: Comparison, *, title: str, summary: str, unit: str) -> str:
    """Return the comparison of models as one HTML page, which needs no other file, no network and no script."""
    shown = _drawn(OF_COMPARISON, ranked)
    return document(title, [opening(title, summary), *shown.values(), footer(unit)])


def _drawn(sections: Sequence[Section[Results, Any]], results: Results) -> dict[Section[Results, Any], Markup]:
    """Return the sections that these results have something for, with what they show."""
    bodies = ((part, part.body(results)) for part in sections)
    return {part: section(part.name, part.title, body) for part, body in bodies if body is not None}
