"""Pictures and one self-contained HTML page: what was fitted, how far to trust it, what it has learnt."""

from .content import EvidenceRow, ReportContent
from .figures import FIGURES
from .page import render

__all__ = ["FIGURES", "EvidenceRow", "ReportContent", "render"]
