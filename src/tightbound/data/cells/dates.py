"""Text that spells dates: one format for a column, decided by the column as a whole."""

from __future__ import annotations

import re
from functools import cache

import polars as pl

from tightbound.data.errors import DataError, complain

_DATES = (
    ("%Y-%m-%d", "year-month-day"),
    ("%Y/%m/%d", "year/month/day"),
    ("%Y.%m.%d", "year.month.day"),
    ("%Y%m%d", "yearmonthday"),
    *((f"%d{s}%m{s}{y}", f"day{s}month{s}year") for s in "/.-" for y in ("%Y", "%y")),
    *((f"%m{s}%d{s}{y}", f"month{s}day{s}year") for s in "/.-" for y in ("%Y", "%y")),
    *((f"%d{s}%b{s}{y}", f"day{s}month's name{s}year") for s in "- " for y in ("%Y", "%y")),
    ("%d %B %Y", "day month's name year"),
    *((f"%{m} %d{c} %Y", f"month's name day{c} year") for m in "bB" for c in (",", "")),
)
_TIMES = (
    "",
    *(f"{gap}%H:%M{second}{zone}" for gap in " T" for second in ("", ":%S", ":%S%.f") for zone in ("", "Z", "%z")),
    " %I:%M %p",
    " %I:%M:%S %p",
)
FORMATS = {date + time: words + (" with a time" if time else "") for date, words in _DATES for time in _TIMES}

_TOKENS = {
    "%Y": r"\d{4}",
    "%y": r"\d{2}",
    "%m": r"\d{1,2}",
    "%d": r"\d{1,2}",
    "%b": r"[A-Za-z]{3}",
    "%B": r"[A-Za-z]{3,9}",
    "%H": r"\d{1,2}",
    "%I": r"\d{1,2}",
    "%M": r"\d{2}",
    "%S": r"\d{2}",
    "%.f": r"\.\d{1,9}",
    "%p": r"[AaPp][Mm]",
    "%z": r"[-+]\d{2}:?\d{2}",
}
_LOOKS = r"^(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{2,4}|[A-Za-z]{3,9} \d{1,2},? \d{4})"
_EIGHT = r"^(19|20)\d{6}$"


@cache
def _compiled(style: str) -> re.Pattern[str]:
    return re.compile(_pattern(style))


@cache
def _pattern(style: str) -> str:
    pieces = re.split(r"(%\.f|%[A-Za-z])", style)
    shape = "".join(_TOKENS.get(piece, re.escape(piece)) for piece in pieces)
    return f"^{shape.replace('%Y%m%d', '')}$" if style != "%Y%m%d" else _EIGHT


def read_dates(texts: pl.Series, style: str) -> pl.Series:
    """Texts as moments (microseconds, UTC where a zone is given); null where one is not spelled so."""
    spelled = texts.set(~texts.str.contains(_pattern(style)), None)
    has_time = "%H" in style or "%I" in style
    plain = spelled if has_time else spelled + " 00:00"
    moments = plain.str.to_datetime(style if has_time else style + " %H:%M", time_unit="us", strict=False)
    return moments.dt.replace_time_zone(None) if "%z" in style else moments


def spell_dates(moments: pl.Series, style: str) -> pl.Series:
    """Moments (microseconds) as text."""
    return (moments.dt.replace_time_zone("UTC") if "%z" in style else moments).dt.strftime(style)


def date_format(texts: pl.Series) -> tuple[str, bool] | None:
    """The format in which every text is a date, and whether day and month could as well be the other way round.

    Day first, where both orders read every text.

    Args:
        texts: stripped, different, not null.
    """
    if not bool(texts.str.contains(f"{_LOOKS}|{_EIGHT}").all()):
        return None
    fitting = [style for style in FORMATS if _reads(texts, style)]
    if not fitting:
        return None
    ambiguous = fitting[0].startswith("%d") and any(style.startswith("%m") for style in fitting)
    return fitting[0], ambiguous


def _reads(texts: pl.Series, style: str) -> bool:
    if _compiled(style).match(texts[0]) is None or not bool(texts.str.contains(_pattern(style)).all()):
        return False
    return read_dates(texts, style).null_count() == 0


def mixed_dates(texts: pl.Series, name: str, source: str) -> DataError | None:
    """The error for a column of dates that no one format reads, or None when fewer than half are dates.

    Args:
        texts: all cells, stripped; null where missing.
        name, source: words for messages.
    """
    n = texts.len() - texts.null_count()
    if int(texts.str.contains(_LOOKS).sum() or 0) * 2 < n:
        return None
    best, first = _formats_in_use(texts)
    readable = sum(count for count, _, _ in best)
    if not best or readable * 2 < n:
        return None
    what = f"Column {name!r} of {source}"
    if readable < n:
        row = first
        return complain(
            what,
            "hold dates, as most of its cells do",
            f"row {row} (counting from 0) holds {texts[row]!r}",
            "correct that cell, or make it missing",
        )
    came = " and ".join(
        f"row {row} (counting from 0) holds {texts[row]!r} ({FORMATS[style]})" for _, style, row in best
    )
    return complain(what, "hold dates in one format", came, "write them all in one way, such as 2020-01-31")


def _formats_in_use(texts: pl.Series) -> tuple[list[tuple[int, str, int]], int]:
    """The formats that together read most cells, each with its count and first row; and the first row left over."""
    left, used = texts, []
    shapes = {re.sub(r"[A-Za-z]", "a", re.sub(r"\d", "0", text)): text for text in texts.drop_nulls().unique()}
    possible = [style for style in FORMATS if any(_compiled(style).match(text) for text in shapes.values())]
    while possible and left.null_count() < left.len():
        counts = {style: left.len() - read_dates(left, style).null_count() for style in possible}
        style = max(counts, key=lambda key: counts[key])
        if counts[style] == 0:
            break
        read = read_dates(left, style).is_not_null()
        used.append((counts[style], style, int(read.arg_max() or 0)))
        left = left.set(read, None)
    return used, int(left.is_not_null().arg_max() or 0)
