"""Pictures and one self-contained HTML page: what was fitted, how far to trust it, what it has learnt."""

from tightbound.report.page import render, render_comparison

__all__ = ["render", "render_comparison"]
