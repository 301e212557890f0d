"""Pictures and one self-contained HTML page: what was fitted, how far to trust it, what it has learnt."""

from tightbound.report.comparison import render_comparison
from tightbound.report.content import EvidenceRow, ReportContent
from tightbound.report.diagnostics import (
    BaselineContent,
    BaselineRow,
    BracketContent,
    CalibrationContent,
    ComparisonContent,
    GapContent,
    GapGroup,
    HealthContent,
    HealthFinding,
    PredictiveContent,
    RankContent,
    RealBracket,
    RowEvidenceContent,
)
from tightbound.report.figures import FIGURES, figures_of
from tightbound.report.forest import comparison_figure
from tightbound.report.page import render
from tightbound.report.table_content import (
    AssociationContent,
    ColumnContent,
    CopiesContent,
    ImputationContent,
    ImputationRow,
    StrangeCellContent,
    StrangeContent,
    StrangeRow,
    TableContent,
)
from tightbound.report.table_making import associated, copied, measured
from tightbound.report.table_words import value_of

__all__ = [
    "FIGURES",
    "AssociationContent",
    "BaselineContent",
    "BaselineRow",
    "BracketContent",
    "CalibrationContent",
    "ColumnContent",
    "ComparisonContent",
    "CopiesContent",
    "EvidenceRow",
    "GapContent",
    "GapGroup",
    "HealthContent",
    "HealthFinding",
    "ImputationContent",
    "ImputationRow",
    "PredictiveContent",
    "RankContent",
    "RealBracket",
    "ReportContent",
    "RowEvidenceContent",
    "StrangeCellContent",
    "StrangeContent",
    "StrangeRow",
    "TableContent",
    "associated",
    "comparison_figure",
    "copied",
    "figures_of",
    "measured",
    "render",
    "render_comparison",
    "value_of",
]
