"""The thresholds of the rules, each with the reason for its size. All of them count observed cells only."""

from __future__ import annotations

import re

ENOUGH = 10
"""Fewer values than this say nothing of a column's support: ten draws that are symmetric around 0 all have the same
sign once in 500 columns, nine once in 256. Below it numbers are `real`, which excludes nothing."""

REPEATS = 5
"""Numbers are levels only where each is seen this often on average: a level's probability from fewer cells has a
standard error of half its size or more."""

FEW = 12
"""Most numbers that can be levels: the longest rating scales have 11 points (0 to 10), a year has 12 months."""

THREE = 3
"""Consecutive whole numbers from 0 or more need more levels than this to be a scale: three are as often mere codes
(class 0, 1, 2), and a categorical on three levels costs one parameter more than an ordinal. (0, 1, 2 of which each is
rarer than the one before, and the last one rare, thin out as counts do.)"""

FADED = 0.05
"""A count fades out: its largest value, less one standard error (the root of its cells), is at most this share of its
most frequent one. A scale stops dead at its last level, and rarely below a tenth of its mode."""

HOLE = 10
"""A whole number that never occurs is a hole in a code, not chance, when both neighbours are seen this often: under a
smooth count of that height the chance of no cell is below exp(-10)."""

COUNT_BELOW = 50
"""From a typical value (the median of those above 0) of this many steps on, whole numbers are a rounded measurement:
one step is 2 % of the value, and a Poisson's or negative binomial's lattice cannot be told from a density."""

SMALL_COUNTS = 20.0
"""Counts with a larger mean are modelled on the line, as whole numbers on a grid."""

COLLISIONS = 10
"""Whole numbers are identifiers when uniform draws from their range would repeat this often on average and they (all
but one in a hundred) do not: the chance of that is exp(-10), and any uneven distribution repeats more often."""

ALMOST_ALL = 0.99
"""Share of different values among whole numbers that count up, for them to be identifiers: a row may be in twice."""

DIFFERENT_TEXTS = 0.95
"""Share of different texts from which a column of text is names or remarks: hardly any level is seen twice."""

ENOUGH_TEXTS = 20
"""Fewer texts than this may all differ by chance."""

MOST_LEVELS = 1000
"""More levels are dropped: a decoder needs a probability for each, in every row, and most are seen once or twice."""

MIXED_NUMBERS = 20
"""Text that is half or more numbers, this many of them different, holds mixed types; fewer are levels such as "9+"."""

MOST_ORDERED = 50
"""Longest list of words that is looked up in the vocabularies and read as intervals."""

COVERED = 0.75
"""Share of a natural interval (0 to 1, 0 to 100, ...) that bounded values span: a small positive number that merely
stays below 1 does not come near the other end."""

ENOUGH_BOUNDED = 20
"""Fewer values than this may keep within an interval by chance."""

INTERVALS = (
    (0.0, 1.0),
    (-1.0, 1.0),
    (0.0, 100.0),
    (0.0, 90.0),
    (0.0, 180.0),
    (0.0, 360.0),
    (-90.0, 90.0),
    (-180.0, 180.0),
)
"""Natural intervals: shares, correlations, percentages, angles. Beside shares both ends must be met (or, for decimals
from 0 on, the upper one), since a sample's own range is no bound."""

POINT_MASS_CELLS = 10
"""A point mass has at least this many cells: fewer equal values are a coincidence of rounding."""

POINT_MASS_ENOUGH = 30
"""So many cells are one whatever their share: enough to learn when the value is taken, and no density bears them."""

POINT_MASS_SHARE = 0.05
"""Of fewer cells, the smallest share of a point mass inside the range."""

POINT_MASS_SHARE_END = 0.002
"""The same at the lowest or highest value, where a limit of the instrument piles cells up."""

POINT_MASS_HEIGHT = 5.0
"""A point mass is this many times as frequent as its neighbours on average: more than rounding to fives does."""

POINT_MASS_NEIGHBOURS = 5
"""How many different values on either side a point mass is compared with."""

POINT_MASS_NEAREST = 2
POINT_MASS_ABOVE_NEAREST = 2.0
"""And twice as frequent as the two on either side: the mode of a count of few values is not."""

MOST_POINT_MASSES = 5
"""More than this is heaping at round numbers, of which the tallest are kept."""

HEAVY = 4.0
"""Heavy tails: (q97.5 - q2.5) / (q75 - q25) of a real column, or of the log of a positive one, exceeds this: 2.91 for a
Gaussian, 4.16 for Student's t with three degrees of freedom (Crow and Siddiqui, 1967)."""

ENOUGH_TAIL = 100
"""Values needed to speak of tails: of fewer, the 2.5 % quantile is set by one or two."""

EXACT = 2.0**53
"""Whole numbers beyond this have no exact float64, and are codes rather than magnitudes."""

DECIMALS = 12
"""Most decimals looked at for a grid: float64 keeps 15 or 16 digits, and recorded data have fewer."""

MISSING_ANYWHERE = ("?", "#N/A N/A", "n.a.", "N.A.", "#NA", "-1.#IND", "1.#QNAN", "<na>")
"""Missing beside the usual words, in every column of text: nobody names a level so. ("?" is UCI's.)"""

MISSING_AMONG_NUMBERS = (
    "-",
    "--",
    ".",
    "*",
    "None",
    "none",
    "missing",
    "Missing",
    "unknown",
    "Unknown",
    "not available",
    "nil",
)
"""Missing where the other cells are numbers or dates; among words they can be levels ("None", "unknown")."""

IDENTIFIER = re.compile(
    r"^(id|uid|uuid|guid|key|index|row[_ ]?(id|no|num|number|names?)?|unnamed.*|.*[_ .-](id|uuid|key))$", re.I
)
"""Names that announce an identifier; believed when at least `ENOUGH` cells are there and no two are the same."""
