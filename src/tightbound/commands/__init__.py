"""What the commands do: read, fit or load, compute, write. Imported when a command runs, never for `--help`."""

from tightbound.commands.answering import detect, impute, schema
from tightbound.commands.judging import compare, evaluate, report, score
from tightbound.commands.learning import demo, fit
from tightbound.commands.using import encode, info, reconstruct, sample

__all__ = [
    "compare",
    "demo",
    "detect",
    "encode",
    "evaluate",
    "fit",
    "impute",
    "info",
    "reconstruct",
    "report",
    "sample",
    "schema",
    "score",
]
