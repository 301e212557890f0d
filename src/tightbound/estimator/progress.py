"""What long work shows: a live line in a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import TextIO, final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from tightbound.estimator.visible import visible
from tightbound.learn import EpochRecord

_SECONDS_BETWEEN_LINES = 10.0


@final
class WorkProgress:
    """What is being done, how much of it, and the time left, on standard error: live in a terminal, else a line now
    and then."""

    def __init__(self, enabled: bool, stream: TextIO | None = None):
        self._console = Console(file=stream or sys.stderr)
        self._enabled = enabled
        self._live: Progress | None = None
        self._words = self._shown = ""
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
            self._console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def __call__(self, words: str, done: int, total: int) -> None:
        """So much of this is done."""
        if not self._enabled:
            return
        seconds, worked = self._since(words, done)
        if self._console.is_terminal:
            self._show(words, done, total, transient=True)
        elif self._is_time_for_a_line():
            left = f", {duration(seconds * (total - done) / worked)} left" if worked > 0 and done < total else ""
            self.message(f"{words}: {done:,} of {total:,}{left}")

    def epoch(self, record: EpochRecord, epochs: int, n_rows: int) -> None:
        """An epoch over so many rows has ended: its bounds, and rows per second."""
        if not self._enabled:
            return
        # The first epoch holds the compilation; it is left out of the speed.
        seconds, worked = self._since("epoch", record.epoch)
        speed = f"  {n_rows * worked / max(seconds, 1e-9):,.0f} rows/s" if worked else ""
        text = f"{bounds_text(record)}{speed}"
        if self._console.is_terminal:
            self._show("epoch", record.epoch, epochs, text, transient=False)
        elif self._is_time_for_a_line() or record.epoch in (1, epochs):
            most = seconds * (epochs - record.epoch) / worked if worked else 0
            self.message(
                f"epoch {record.epoch}/{epochs}  {text}" + (f"  at most {duration(most)} left" if most else "")
            )

    def _since(self, words: str, done: int) -> tuple[float, int]:
        """Seconds since this work began, and how much of it was done in them."""
        now = time.monotonic()
        if words != self._words:
            self._words, self._started, self._already = words, now, done
        return now - self._started, done - self._already

    def _is_time_for_a_line(self) -> bool:
        now = time.monotonic()
        due = now - self._last_line >= _SECONDS_BETWEEN_LINES
        self._last_line = now if due else self._last_line
        return due

    def _show(self, words: str, done: int, total: int, detail: str = "", *, transient: bool) -> None:
        if self._live is None:
            self._live = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.completed}/{task.total}  {task.fields[detail]}"),
                TimeRemainingColumn(compact=True),
                console=self._console,
                transient=transient,
            )
            self._live.start()
            self._live.add_task(words, total=total, completed=done, detail=detail)
        task = self._live.tasks[0]
        if self._words != self._shown:  # other work: its own time left
            self._live.reset(task.id, total=total, completed=done)
        self._shown = self._words
        self._live.update(task.id, description=visible(words), completed=done, detail=detail)


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
