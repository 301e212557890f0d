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

__all__ = [
    "FIGURES",
    "BaselineContent",
    "BaselineRow",
    "BracketContent",
    "CalibrationContent",
    "ComparisonContent",
    "EvidenceRow",
    "GapContent",
    "GapGroup",
    "HealthContent",
    "HealthFinding",
    "PredictiveContent",
    "RankContent",
    "RealBracket",
    "ReportContent",
    "RowEvidenceContent",
    "comparison_figure",
    "figures_of",
    "render",
    "render_comparison",
]
