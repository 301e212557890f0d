"""Seconds a step and an epoch, compile time and memory: tightbound beside the same model in other libraries.

    python benchmarks/step.py --json benchmarks/step.json --markdown docs/performance.md

The contenders take turns: in a round each trains for one epoch while the others sleep, and the next round begins with
the next one. What slows the machine for a while then slows all of them, and a ratio is taken within a round. Reported
are the medians over the rounds. See worker.py for why each has its own process, contenders.py for what it does in it.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from contenders import CONTENDERS, DATA_DIM

HERE = Path(__file__).resolve().parent
REFERENCE = "tightbound"
EPOCH_ROWS = 60_000
MNIST_LIKE_MEAN = 0.13
QUIET = 0.1
BEGIN, END = "<!-- benchmarks/step.py: begin -->", "<!-- benchmarks/step.py: end -->"


@dataclass(frozen=True)
class Result:
    """One contender on one kind of data at one batch size; seconds, MiB, nats a row."""

    data: str
    batch: int
    name: str
    step: float  # median over the rounds
    fastest_step: float
    slowest_step: float
    epoch: float  # of EPOCH_ROWS rows, from the median step
    compile: float  # what the first epoch took more than the median one
    memory: float  # peak resident size of its process
    bound: float  # mean of the last epoch, to see that all train the same model
    ratio: float | None  # its step over tightbound's: median over the rounds
    threads: int | None  # of PyTorch; JAX takes what there is


class Worker:
    """A contender in a process of its own; only one of them is at work at a time."""

    def __init__(self, name: str, rows: Path, batch: int, threads: list[int]) -> None:
        task = {"name": name, "rows": str(rows), "batch": batch, "threads": threads}
        # A cache of compiled programs from an earlier run would hide the compile time.
        environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_PLATFORMS": "cpu"}
        self._messages = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open for as long as the process is)
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env=environment,
            text=True,
            bufsize=1,
        )
        self.name = name
        self.epochs: list[dict[str, float]] = []

    def answer(self) -> dict[str, Any]:
        """The next line that the process says; it is waited for."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._messages.seek(0)
            raise RuntimeError(f"the worker '{self.name}' died; its last words:\n{self._messages.read()[-2000:]}")
        return json.loads(line)

    def epoch(self) -> None:
        """Let it train for one epoch."""
        assert self._process.stdin is not None
        self._process.stdin.write("epoch\n")
        self._process.stdin.flush()
        self.epochs.append(self.answer())

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.terminate()
        self._process.wait()
        self._messages.close()


@contextmanager
def workers(names: Sequence[str], rows: Path, batch: int, threads: list[int]) -> Iterator[dict[Worker, dict[str, Any]]]:
    """The contenders that can run here, made ready one after the other, with what each said of it."""
    ready: dict[Worker, dict[str, Any]] = {}
    with ExitStack() as stack:
        for name in names:
            worker = Worker(name, rows, batch, threads)
            stack.callback(worker.close)
            said = worker.answer()
            if "missing" in said:
                print(said["missing"], file=sys.stderr)
            else:
                ready[worker] = said
        yield ready


def measure(data: str, rows: np.ndarray, batch: int, options: argparse.Namespace) -> list[Result]:
    """All contenders on these rows at this batch size."""
    rows = rows[: len(rows) // batch * batch]  # only whole batches, so that a step is a step
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        np.save(path, rows)
        with workers(options.contenders, path, batch, options.threads) as ready:
            turns = list(ready)
            for round_ in range(options.rounds):
                first = round_ % len(turns) if turns else 0
                for worker in turns[first:] + turns[:first]:
                    worker.epoch()
            reference = next((worker for worker in turns if worker.name == REFERENCE), None)
            steps = len(rows) // batch
            return [summary(data, batch, steps, worker, reference, said) for worker, said in ready.items()]


def summary(
    data: str, batch: int, steps: int, worker: Worker, reference: Worker | None, said: dict[str, Any]
) -> Result:
    """The medians over the rounds."""
    seconds = [epoch["seconds"] for epoch in worker.epochs]
    ratio = None
    if reference is not None:
        pairs = zip(worker.epochs, reference.epochs, strict=True)
        ratio = statistics.median(ours["seconds"] / theirs["seconds"] for ours, theirs in pairs)
    median = statistics.median(seconds)
    return Result(
        data=data,
        batch=batch,
        name=worker.name,
        step=median / steps,
        fastest_step=min(seconds) / steps,
        slowest_step=max(seconds) / steps,
        epoch=median / steps * EPOCH_ROWS / batch,
        compile=max(said["first"]["seconds"] - median, 0.0),
        memory=worker.epochs[-1]["memory"],
        bound=worker.epochs[-1]["bound"],
        ratio=ratio,
        threads=said["threads"],
    )


def random_rows(n: int) -> np.ndarray:
    """0/1 pixels with MNIST's mean, and nothing in them to learn."""
    return (np.random.default_rng(0).random((n, DATA_DIM)) < MNIST_LIKE_MEAN).astype(np.uint8)


def mnist_rows(n: int) -> np.ndarray | None:
    """Training images, binarised once; None where the file is not there."""
    named = os.environ.get("TIGHTBOUND_DATA")
    folder = Path(named) if named else HERE.parents[1] / "shared" / "data"
    path = folder / "images" / "mnist.npz"
    if not path.exists():
        return None
    with np.load(path) as archive:
        images = archive["x_train"]
    images = images[:n].reshape(-1, DATA_DIM)
    return (np.random.default_rng(0).random(images.shape) * 255 < images).astype(np.uint8)


HEADINGS = ("batch", "contender", "ms a step", "(range)", "s an epoch", "ratio", "compile, s", "MiB", "bound, nats")


def cells(result: Result) -> tuple[str, ...]:
    """A row of the table, as text."""
    threads = "" if result.threads is None else f", {result.threads} thread{'s' * (result.threads > 1)}"
    return (
        str(result.batch),
        CONTENDERS[result.name].title + threads,
        f"{1e3 * result.step:.2f}",
        f"{1e3 * result.fastest_step:.2f}-{1e3 * result.slowest_step:.2f}",
        f"{result.epoch:.1f}",
        "-" if result.ratio is None else f"{result.ratio:.2f}",
        f"{result.compile:.1f}",
        f"{result.memory:.0f}",
        f"{result.bound:.1f}",
    )


def show(data: str, results: list[Result]) -> None:
    """The table of one kind of data, on the screen."""
    table = Table(title=f"784-200-200-50, {data}", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    for result in results:
        table.add_row(*cells(result), end_section=result is results[-1])
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def busy() -> float | None:
    """Which share of the cores others are using now, from a second of watching; None where it cannot be told."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None

    def used_and_total() -> np.ndarray:
        ticks = [int(text) for text in stat.read_text().splitlines()[0].split()[1:9]]
        return np.array([sum(ticks) - ticks[3] - ticks[4], sum(ticks)])

    before = used_and_total()
    time.sleep(1)
    used, total = used_and_total() - before
    return float(used / max(total, 1))


def busy_sentence(share: float | None) -> str:
    """Whether the figures can be believed."""
    if share is None:
        return "Whether others used the machine meanwhile is not known."
    if share > QUIET:
        return f"Others used {share:.0%} of the machine when it began: these figures are not to be relied on."
    return "Nothing else ran on the machine when it began."


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    libraries = {}
    for package in ("tightbound", "jax", "optax", "equinox", "torch", "pythae", "numpy"):
        try:
            libraries[package] = version(package)
        except PackageNotFoundError:
            continue
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": date.today().isoformat(),
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "libraries": libraries,
    }


def markdown(results: dict[str, list[Result]], about: dict[str, Any], options: argparse.Namespace) -> str:
    """The section of docs/performance.md."""
    libraries = ", ".join(f"{name} {number}" for name, number in about["libraries"].items())
    lines = [
        "## A training step, beside other libraries",
        "",
        "The same model (784-200-200-50, tanh, diagonal Gaussian q(z given x), Bernoulli decoder) and the same update",
        "(ELBO with its closed-form KL, one sample, Adam) in each library; `make bench` measures it anew.",
        f"{options.rounds} rounds; in each round every contender trains for one epoch of {options.rows:,} rows, one",
        "after the other, each in a process of its own. Figures are medians over the rounds; the range is from the",
        f"fastest to the slowest. An epoch is one of {EPOCH_ROWS:,} rows, from the median step. The ratio is the",
        "contender's time over tightbound's, taken within each round. Compile is what the first epoch took more than",
        "the median one. Peak memory is the process's, with the data and the library itself. The bound, in nats a row",
        "after the same number of epochs, shows that all train the same model. tightbound is `learn.fit`, with its",
        "clipping and its guard against steps that are not finite; JAX by hand is one compiled scan an epoch; PyTorch",
        "has its rows in one tensor and a fused Adam; pythae is its own `BaseTrainer`. Both have the number of threads",
        "with which a short trial was fastest.",
        "",
        f"Measured {about['date']}: {about['processor']}, {about['cores']} cores, {about['system']}, "
        f"Python {about['python']}; {libraries}. {busy_sentence(about['busy'])}",
    ]
    for data, rows in results.items():
        lines += ["", f"### {data[0].upper()}{data[1:]}", ""]
        lines.append("| " + " | ".join(HEADINGS) + " |")
        lines.append("|" + "|".join("---" if heading == "contender" else "--:" for heading in HEADINGS) + "|")
        lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    return "\n".join(lines)


def insert(path: Path, section: str) -> None:
    """Put the section between its marks in the page, or at its end; the rest of the page stays."""
    marked = f"{BEGIN}\n{section}\n{END}"
    page = path.read_text(encoding="utf-8") if path.exists() else "# Performance\n"
    if BEGIN in page and END in page:
        before, _, rest = page.partition(BEGIN)
        page = before + marked + rest.partition(END)[2]
    else:
        page = f"{page.rstrip()}\n\n{marked}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def arguments() -> argparse.Namespace:
    """What to measure, and where to write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[20, 100, 500], help="batch sizes")
    parser.add_argument("--data", choices=["random", "mnist", "both"], default="both", help="which rows")
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the epoch that a turn trains for")
    parser.add_argument("--rounds", type=int, default=7, help="turns of every contender")
    parser.add_argument(
        "--threads",
        type=int,
        nargs="+",
        default=sorted({1, os.cpu_count() or 1}),
        help="numbers of PyTorch's threads to choose the fastest of",
    )
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--markdown", type=Path, help="page to put the tables into")
    options = parser.parse_args()
    if not options.rows >= max(options.batch) >= min(options.batch) >= 1 or options.rounds < 1:
        parser.error(
            f"--rows must be at least the largest --batch, and --batch and --rounds at least 1, but came as "
            f"{options.rows}, {options.batch} and {options.rounds}; give larger ones"
        )
    return options


def main() -> None:
    """Measure, show, write."""
    options = arguments()
    about = {**machine(), "busy": busy()}
    print(busy_sentence(about["busy"]), file=sys.stderr)
    data = {"random": ("random 0/1 rows", random_rows), "mnist": ("binarised MNIST", mnist_rows)}
    results: dict[str, list[Result]] = {}
    for name, (title, load) in data.items():
        if options.data not in (name, "both"):
            continue
        rows = load(options.rows)
        if rows is None:
            print("MNIST is left out: set TIGHTBOUND_DATA to a folder that holds images/mnist.npz.", file=sys.stderr)
            continue
        results[title] = [result for batch in options.batch for result in measure(title, rows, batch, options)]
        show(title, results[title])
    if options.json:
        every = [asdict(result) for rows in results.values() for result in rows]
        settings = {"rows": options.rows, "rounds": options.rounds, "threads": options.threads}
        text = json.dumps({"machine": about, "settings": settings, "results": every}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.markdown:
        insert(options.markdown, markdown(results, about, options))


if __name__ == "__main__":
    main()
