"""Words that have an order: common scales, grades, intervals, ordinal numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from tightbound.data.types.rules import MOST_ORDERED

# Each from least to most; words that mean the same stand in one entry, separated by a bar. A column has the order of
# the first vocabulary that holds all of its words.
VOCABULARIES: dict[str, tuple[str, ...]] = {
    "amounts": (
        "none|absent|no",
        "minimal|trace",
        "very low|very small|very weak|very mild",
        "low|small|weak|mild|minor|slight|lo",
        "medium low",
        "medium|moderate|mid|middle|normal|average|med|intermediate",
        "medium high",
        "high|large|strong|severe|major|hi|big",
        "very high|very large|very strong|very severe|huge",
        "extreme|critical|maximal|extra large",
    ),
    "sizes": ("xxxs|3xs", "xxs|2xs", "xs", "s", "m", "l", "xl", "xxl|2xl", "xxxl|3xl", "xxxxl|4xl"),
    "frequencies": (
        "never|not at all",
        "almost never|hardly ever|very rarely",
        "rarely|seldom",
        "occasionally|once in a while",
        "sometimes|now and then",
        "often|frequently",
        "usually|mostly|very often|most of the time",
        "almost always|nearly always",
        "always|all the time",
    ),
    "agreement": (
        "strongly disagree|disagree strongly|completely disagree",
        "disagree",
        "somewhat disagree|slightly disagree|disagree somewhat|rather disagree",
        "neutral|neither agree nor disagree|undecided|neither",
        "somewhat agree|slightly agree|agree somewhat|rather agree",
        "agree",
        "strongly agree|agree strongly|completely agree",
    ),
    "satisfaction": (
        "very dissatisfied|very unsatisfied",
        "dissatisfied|unsatisfied",
        "somewhat dissatisfied",
        "neutral|neither satisfied nor dissatisfied",
        "somewhat satisfied",
        "satisfied",
        "very satisfied|completely satisfied",
    ),
    "likelihood": (
        "very unlikely",
        "unlikely",
        "neutral|possible|possibly",
        "likely|probable",
        "very likely",
        "certain",
    ),
    "importance": (
        "not important|unimportant|not at all important",
        "slightly important",
        "moderately important|neutral",
        "important",
        "very important",
        "extremely important",
    ),
    "quality": (
        "terrible|awful",
        "very poor|very bad",
        "poor|bad",
        "below average",
        "fair|ok|okay|acceptable|so-so",
        "average|neutral|typical",
        "above average",
        "good",
        "very good",
        "premium|great",
        "excellent|ideal",
        "outstanding|perfect",
    ),
    "skill": ("novice", "beginner|elementary", "intermediate", "advanced|proficient", "expert", "master"),
    "medals": ("bronze", "silver", "gold", "platinum", "diamond"),
    "ages": (
        "infant|baby",
        "child",
        "teen|teenager|adolescent",
        "young|young adult",
        "adult|middle-aged",
        "senior|old|elderly",
    ),
    "times": ("early", "mid|middle", "late"),
    "temperatures": ("freezing", "cold", "cool", "mild", "warm", "hot"),
    "change": (
        "much worse",
        "worse",
        "slightly worse",
        "same|unchanged|no change",
        "slightly better",
        "better",
        "much better",
    ),
    "schooling": (
        "no schooling|no formal education",
        "preschool|kindergarten",
        "1st-4th",
        "5th-6th",
        "elementary|elementary school|primary|primary school",
        "7th-8th",
        "middle school",
        "9th",
        "10th",
        "11th",
        "12th",
        "hs-grad|high school|secondary|secondary school|high school graduate",
        "some-college|some college",
        "assoc-voc",
        "assoc-acdm|associate|associate's|associate degree",
        "bachelors|bachelor|bachelor's|undergraduate|tertiary|college|university",
        "masters|master|master's|graduate",
        "prof-school",
        "doctorate|doctoral|phd",
    ),
}
_NUMBERED = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_RANKED = re.compile(r"(\d+)(?:st|nd|rd|th)")
_STEPPED = re.compile(r"(stage|grade|level|tier|step|phase|class|quartile|quintile|decile|q) ?(\d+|i{1,3}|iv|v)")
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5}

_NUMBER = r"[$€£]?(-?\d[\d,]*(?:\.\d+)?) ?([km]?)%?(?:st|nd|rd|th)?"
_UNIT = r"(?: ?[a-z]+)?"
_BELOW = re.compile(rf"(?:<=?|≤|under|below|less than|up to) ?{_NUMBER}{_UNIT}")
_ABOVE = re.compile(rf"(?:>=?|≥|over|above|more than|at least) ?{_NUMBER}{_UNIT}")
_PLUS = re.compile(rf"{_NUMBER} ?(?:\+|or more|and over|and above|or over|plus){_UNIT}")
_BETWEEN = re.compile(rf"[\[(]?{_NUMBER} ?(?:-|–|—|to|\.\.|,|;) ?{_NUMBER}{_UNIT}[\])]?")
_ALONE = re.compile(rf"{_NUMBER}{_UNIT}")


def ordered_levels(levels: Sequence[str]) -> tuple[tuple[str, ...], str] | None:
    """The levels from least to most and the words for what orders them, or None when nothing does."""
    if not 2 <= len(levels) <= MOST_ORDERED:
        return None
    words = {level: re.sub(r"[\s_]+", " ", level.strip().lower()) for level in levels}
    if len(set(words.values())) < len(levels):
        return None
    for name, ranks in _rankings(list(words.values())):
        return tuple(sorted(levels, key=lambda level: ranks[words[level]])), name
    return None


def _rankings(words: Sequence[str]) -> list[tuple[str, dict[str, tuple[float, ...]]]]:
    """What orders the words, each with a rank for every word: at most one is needed."""
    for name, entries in VOCABULARIES.items():
        ranks: dict[str, tuple[float, ...]] = {
            word: (float(i),) for i, entry in enumerate(entries) for word in entry.split("|")
        }
        if all(word in ranks for word in words) and len({ranks[word] for word in words}) == len(words):
            if name == "sizes" and len(words) < 3:
                continue
            return [(f"words for {name}", ranks)]
    for name, rank in (("grades", _grades), ("ordinal numbers", _ordinals), ("intervals", _intervals)):
        if found := rank(words):
            return [(name, found)]
    return []


def _grades(words: Sequence[str]) -> dict[str, tuple[float, ...]] | None:
    """School grades, F to A+. Three bare letters (A, B, C) are as often the names of groups."""
    if len(words) < 3 or not all(re.fullmatch(r"[a-f][-+]?", word) for word in words):
        return None
    signed = any(len(word) > 1 for word in words)
    if not signed and (len(words) < 4 or "a" not in words):
        return None
    return {word: (-float(ord(word[0])), {"+": 1.0, "-": -1.0}.get(word[1:], 0.0)) for word in words}


def _ordinals(words: Sequence[str]) -> dict[str, tuple[float, ...]] | None:
    """first, second, ...; 1st, 2nd, ...; stage 1, grade ii, ..."""
    if all(word in _NUMBERED for word in words):
        return {word: (float(_NUMBERED.index(word)),) for word in words}
    ranked = [_RANKED.fullmatch(word) for word in words]
    if all(ranked):
        return {word: (float(m[1]),) for word, m in zip(words, ranked, strict=True) if m}
    stepped = [m for m in (_STEPPED.fullmatch(word) for word in words) if m]
    if len(stepped) == len(words) and len({m[1] for m in stepped}) == 1:
        numbers = [float(_ROMAN.get(m[2], m[2])) for m in stepped]
        return dict(zip(words, [(number,) for number in numbers], strict=True))
    return None


def _intervals(words: Sequence[str]) -> dict[str, tuple[float, ...]] | None:
    """Intervals that do not overlap ("<4", "4-7", ">=7"), single numbers among them ("1", "2", "3+")."""
    ends = {word: _interval(word) for word in words}
    if any(end is None for end in ends.values()) or all(_ALONE.fullmatch(word) for word in words):
        return None
    ranks = {word: end for word, end in ends.items() if end is not None}
    inorder = sorted(ranks.values())
    apart = all(one[1] <= other[0] and one != other for one, other in pairwise(inorder))
    return dict(ranks) if apart else None


def _interval(word: str) -> tuple[float, float] | None:
    if match := _BELOW.fullmatch(word):
        return -math.inf, _value(match[1], match[2])
    if match := _ABOVE.fullmatch(word) or _PLUS.fullmatch(word):
        return _value(match[1], match[2]), math.inf
    if match := _ALONE.fullmatch(word):
        return _value(match[1], match[2]), _value(match[1], match[2])
    if match := _BETWEEN.fullmatch(word):
        low, high = _value(match[1], match[2] or match[4]), _value(match[3], match[4])
        return (low, high) if low < high else None
    return None


def _value(digits: str, scale: str) -> float:
    return float(digits.replace(",", "")) * {"k": 1e3, "m": 1e6}.get(scale, 1.0)
