"""The one error of this package, and the words its messages are made of."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import final


class DataError(ValueError):
    """Data that cannot be used.

    The message is one sentence of four parts: which input, what it must be, what came (with its row and column where
    there is one), and what to do.
    """


class CellTypeError(DataError, TypeError):
    """A cell of an object array that is neither a number nor text (a dict, a list, ...)."""


def complain(what: str, must: str, came: str, advice: str) -> DataError:
    """The sentence `what must must, but came: advice.` as an error to raise."""
    return DataError(f"{what} must {must}, but {came}: {advice}.")


@final
class UnseenLevelError(DataError):
    """A level that the schema does not know; what can be done about it differs by face."""

    def __init__(self, source: str, must: str, came: str):
        """The parts of the sentence but the last."""
        self.parts = source, must, came
        super().__init__(str(self.advised("correct it, make it missing, or ask for unseen='missing'")))

    def advised(self, advice: str) -> DataError:
        """The error with the advice of a face."""
        return complain(*self.parts, advice)


def listing(names: Iterable[object], limit: int = 8) -> str:
    """Names as words, in quotes, a long list cut short."""
    quoted = [repr(str(name)) for name in names]
    more = f" and {len(quoted) - limit} more" if len(quoted) > limit else ""
    return ", ".join(quoted[:limit]) + more


def suggestion(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'age'?)"` when a known name is close to the given one, else nothing."""
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def shorten(value: object, limit: int = 40) -> str:
    """`repr` of a cell, cut to what fits in a sentence."""
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."


def cut(text: str, longest: int) -> str:
    """Text on one line, with its middle left out where it is too long: names differ at their ends as often as not."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - longest // 3 - 1]}…{line[-(longest // 3) :]}"


def row_words(row: int) -> str:
    """Words for a row of a table in memory."""
    return f"row {row} (counting from 0)"


def unreadable(path: str, error: OSError) -> DataError:
    """The error for a path that the operating system refuses."""
    reason = (error.strerror or str(error)).lower()
    return complain(
        shorten(path, 200),
        "be a file or folder that can be read",
        f"the system says: {reason}",
        "check path and rights",
    )
