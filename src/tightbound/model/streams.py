"""The named streams of randomness: everything that is drawn from one key, under a name of its own."""

import enum

import jax
from jaxtyping import PRNGKeyArray


@enum.unique
class Stream(enum.IntEnum):
    """What a key is folded with to set one use of it apart from the others: `Stream.NOISE.of(key)`.

    Rows, draws, steps and epochs are folded in by their number, from 0 up (as `jax.random.split` does); names count
    down from 2^32 - 1, so that none is ever the number of something. A new one goes to the end: a name's place in the
    list is its value, and so the bits of all results.
    """

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        return 2**32 - 1 - count

    INNER_LOOP = enum.auto()
    """The draws of an inner loop that finds q."""
    REGULARISER = enum.auto()
    """What stands in for the KL of a minibatch."""
    PRIOR_DRAWS = enum.auto()
    """Defensive draws, and which they are."""
    ANNEALING = enum.auto()
    """The chains of a scoring by annealing."""
    HIDDEN = enum.auto()
    """Which observed cells a training row hides."""
    NOISE = enum.auto()
    """The Gaussian noise that smooths training rows."""
    CELLS = enum.auto()
    """Cells of completed rows."""
    BRACKET_ROWS = enum.auto()
    """Rows that the model makes for its own bracket."""
    RESAMPLING = enum.auto()
    """Which latents completed rows come from."""
    PICKING = enum.auto()
    """Which places of annealed chains go on."""
    BEST_OF_FAMILY = enum.auto()
    """The bound of the best q of a family."""
    OWN_BOUND = enum.auto()
    """The bound of the model's own q."""
    ORDER = enum.auto()
    """The order of completed rows."""
    INNER_START = enum.auto()
    """What finds where an inner loop starts."""
    COPIES = enum.auto()
    """Draws that differ between equal rows."""
    PILOT = enum.auto()
    """The short chains that set an annealing schedule."""
    PILOT_ROWS = enum.auto()
    """The rows that they are run on."""
    STAGE = enum.auto()
    """The later stages of an adaptive scoring, each of which folds in its own number too."""
    REFINING = enum.auto()
    """The inner loop of likelihood regret."""
    SECOND_STAGE = enum.auto()
    """The fit of a second-stage prior."""
    ENCODER_STEPS = enum.auto()
    """Minibatches of extra steps on q."""
    GAP = enum.auto()
    """Of an evaluation: the gap of rows."""
    BRACKET = enum.auto()
    """Of an evaluation: the bracket of rows that the model makes."""
    REAL_BRACKET = enum.auto()
    """Of an evaluation: the bracket of rows of the table."""
    DIAGNOSTICS = enum.auto()
    """Of an evaluation: the health of the fit."""
    SET_INPUTS = enum.auto()
    """The weights of an encoder of sets of cells."""

    def of(self, key: PRNGKeyArray) -> PRNGKeyArray:
        """The key of this stream."""
        return jax.random.fold_in(key, int(self))
