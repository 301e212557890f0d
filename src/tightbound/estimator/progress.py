"""What long work shows: a live line in a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import TextIO, final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from tightbound.learn import EpochRecord

_SECONDS_BETWEEN_LINES = 10.0


@final
class FitProgress:
    """Epoch, bounds, rows per second and time left of a fit, on standard error."""

    def __init__(self, enabled: bool, stream: TextIO | None = None):
        self._console = Console(file=stream or sys.stderr)
        self._enabled = enabled
        self._live: Progress | None = None
        self._started = self._last_line = time.monotonic()
        self._first_seen: tuple[int, float] | None = None

    def __enter__(self) -> "FitProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def message(self, text: str) -> None:
        """One sentence for the user."""
        if self._enabled:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def epoch(self, record: EpochRecord, epochs: int, n_rows: int) -> None:
        """Show an epoch that has ended."""
        if not self._enabled:
            return
        now = time.monotonic()
        if self._first_seen is None:
            self._first_seen = (record.epoch, now)
        done = record.epoch - self._first_seen[0]
        # The first epoch holds the compilation; it is left out of the speed.
        seconds = (now - self._first_seen[1]) / done if done else now - self._started
        speed = f"  {n_rows / max(seconds, 1e-9):,.0f} rows/s" if done else ""
        text = f"{bounds_text(record)}{speed}"
        if self._console.is_terminal:
            self._show_live(record, epochs, text)
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES or record.epoch in (1, epochs):
            waiting = done and record.epoch < epochs
            left = f"  at most {duration((epochs - record.epoch) * seconds)} left" if waiting else ""
            self.message(f"epoch {record.epoch}/{epochs}  {text}{left}")
            self._last_line = now

    def _show_live(self, record: EpochRecord, epochs: int, text: str) -> None:
        if self._live is None:
            self._live = Progress(
                SpinnerColumn(),
                TextColumn("epoch {task.completed}/{task.total}"),
                BarColumn(bar_width=24),
                TextColumn("{task.description}"),
                TimeRemainingColumn(compact=True),
                console=self._console,
                transient=False,
            )
            self._live.start()
            self._live.add_task("", total=epochs)
        self._live.update(self._live.task_ids[0], completed=record.epoch, description=text)


@final
class WorkProgress:
    """What is being done, how much of it, and the time left, on standard error: live in a terminal, else a line now
    and then."""

    def __init__(self, enabled: bool, stream: TextIO | None = None):
        self._console = Console(file=stream or sys.stderr)
        self._enabled = enabled
        self._live: Progress | None = None
        self._words = ""
        self._started = self._last_line = time.monotonic()
        self._already = 0

    def __enter__(self) -> "WorkProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def message(self, text: str) -> None:
        """One sentence for the user."""
        if self._enabled:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __call__(self, words: str, done: int, total: int) -> None:
        """So much of this is done."""
        if not self._enabled:
            return
        now = time.monotonic()
        if words != self._words:
            self._words, self._started, self._already = words, now, done
        if self._console.is_terminal:
            self._show_live(words, done, total)
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES:
            worked = done - self._already
            left = (now - self._started) * (total - done) / worked if worked > 0 else 0
            said = f", {duration(left)} left" if left > 0 else ""
            self._console.print(f"{words}: {done:,} of {total:,}{said}", markup=False, highlight=False)
            self._last_line = now

    def _show_live(self, words: str, done: int, total: int) -> None:
        if self._live is None:
            self._live = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.completed}/{task.total}"),
                TimeRemainingColumn(compact=True),
                console=self._console,
                transient=True,
            )
            self._live.start()
            self._live.add_task(words, total=total, completed=done)
        task = self._live.tasks[0]
        if task.description != words:
            self._live.reset(task.id, description=words, total=total, completed=done)
        self._live.update(task.id, completed=done)


def bounds_text(record: EpochRecord) -> str:
    """The bounds of an epoch in words."""
    text = f"train {record.train_bound:.3f}"
    if record.validation_bound == record.validation_bound:
        text += f"  validation {record.validation_bound:.3f}"
    if abs(record.train_objective - record.train_bound) > 5e-4:  # what is maximised is not the bound itself
        text += f"  (maximised: {record.train_objective:.3f})"
    return f"{text} nats a row"


def duration(seconds: float) -> str:
    """Seconds as a person says them: 41 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
