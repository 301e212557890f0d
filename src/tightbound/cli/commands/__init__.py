"""What the commands do: read, fit or load, compute, write. Each module is imported when one of its commands runs."""

import importlib
from typing import Any

_MODULES = {
    "answering": ("detect", "impute"),
    "describing": ("schema",),
    "judging": ("compare", "evaluate", "report", "score"),
    "learning": ("demo", "fit"),
    "using": ("encode", "info", "reconstruct", "sample"),
}
COMMANDS = {name: module for module, names in _MODULES.items() for name in names}


def run(name: str, **arguments: Any) -> None:
    """Run the command of that name."""
    getattr(importlib.import_module(f"tightbound.cli.commands.{COMMANDS[name]}"), name)(**arguments)
