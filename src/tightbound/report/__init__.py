"""Pictures and one self-contained HTML page: what was fitted, how far to trust it, what it has learnt."""

from .comparison import render_comparison
from .content import EvidenceRow, ReportContent
from .diagnostics import (
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
from .figures import FIGURES, figures_of
from .forest import comparison_figure
from .page import render
from .table_content import (
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
from .table_making import associated, copied, measured
from .table_words import value_of

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
