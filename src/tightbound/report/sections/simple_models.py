"""The fitted model among simple ones with exact likelihoods, on the same rows."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from tightbound.estimator.evaluation import THIS_MODEL, Evaluation
from tightbound.estimator.formatting import plural
from tightbound.evidence import Comparison, Difference
from tightbound.report.page import (
    Markup,
    Section,
    Words,
    cell,
    element,
    heading,
    join,
    measured,
    paragraph,
    picture,
    table,
    text,
)
from tightbound.report.style import arrows, draw_forest, new_figure, styled, told


def ranking(ranked: Comparison) -> list[Difference]:
    """Return the differences to the fitted model, the best model first."""
    order = sorted(ranked.names, key=lambda name: -ranked.mean(name).value)
    return [ranked.difference(name, THIS_MODEL) for name in order]


@styled
def figure(ranked: Comparison) -> Figure:
    """Draw how far simple models are above or below the fitted one."""
    differences = ranking(ranked)
    drawn = new_figure(0.65 + 0.26 * max(2, len(differences)))
    draw_forest(drawn.add_subplot(), differences, THIS_MODEL)
    return drawn


def words(ranked: Comparison) -> Words:
    """Describe the fitted model among simple ones."""
    differences = ranking(ranked)
    others = [each for each in differences if each.name != THIS_MODEL]
    above = sum(each.value > 0 for each in others)
    alt = f"Differences of {plural(len(others), 'simple model')} to the fitted one, in nats a row: "
    alt += "; ".join(told(each) for each in others) + f". {above} above the fitted model."
    caption = (
        "The dashed line is the fitted model. A dot to its right is a simple model that gives the data more density "
        f"than the fitted one; bars are two standard errors of the paired difference.{arrows(differences)} All on the "
        f"same {plural(ranked.n_rows, 'row')}."
    )
    return Words(alt, caption)


def models_table(ranked: Comparison, details: Mapping[str, str]) -> Markup:
    """Return mean, difference to the fitted model and description of each model."""
    names = ("Model", "Mean log\u00a0p(x)", "Minus the fitted model", "What it is")
    head = [heading(name, number="inus" in name or "log" in name) for name in names]
    rows = [_cells(ranked, each, details.get(each.name, "")) for each in ranking(ranked)]
    return table(head, rows, "", class_="small")


def _cells(ranked: Comparison, difference: Difference, detail: str) -> list[Markup]:
    name, mean = text(difference.name), ranked.mean(difference.name)
    over = measured(difference.value, difference.standard_error, sign=True)
    if difference.name == THIS_MODEL:
        name = Markup(element("strong", name) + element("small", text("the fitted model")))
        over = cell("reference", number=True)
    return [element("th", name, scope="row"), measured(mean.value, mean.standard_error), over, cell(detail)]


def sentence(found: Evaluation, ranked: Comparison) -> str:
    """Say where the fitted model stands, and what was left out."""
    place = [each.name for each in ranking(ranked)].index(THIS_MODEL) + 1
    stands = f"This model ranks {place} of {len(ranked.names)} by mean log p(x) on the same rows."
    return " ".join([found.warning or stands, *found.left_out])


def body(found: Evaluation, ranked: Comparison) -> Markup:
    """Show the fitted model among simple ones."""
    drawn = picture("baselines", figure(ranked), words(ranked))
    return join([paragraph(sentence(found, ranked)), models_table(ranked, found.details), drawn])


def _find(found: Evaluation) -> tuple[Evaluation, Comparison] | None:
    return None if found.comparison is None else (found, found.comparison)


SECTION = Section("baselines", "Simple models", _find, lambda parts: body(*parts))
