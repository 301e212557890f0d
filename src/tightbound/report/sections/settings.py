"""The settings that the model was fitted with."""

from collections.abc import Mapping

from tightbound.estimator.evaluation import Evaluation
from tightbound.report.page import Markup, Section, cell, element, heading, table, text


def body(settings: Mapping[str, str]) -> Markup:
    """Show every setting, in words."""
    rows = [[element("th", text(name), scope="row"), cell(value)] for name, value in settings.items()]
    return table([heading("Setting"), heading("Value")], rows, "", class_="settings")


SECTION = Section[Evaluation, Mapping[str, str]]("settings", "Settings", lambda found: found.settings, body)
