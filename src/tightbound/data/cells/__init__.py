"""Cells as they came: texts that spell numbers and dates, Python objects, frames, raw columns."""
