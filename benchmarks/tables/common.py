"""What the scripts of this folder share: tables, options, contenders, records and the printed comparison.

A script measures a list of cases (set, seed, ...), each with every contender in turn on the very same rows and cells.
What a contender gives is a record, a flat dictionary; records are written after every measurement, so that a run that
is cut short has lost nothing.
"""

import argparse
import contextlib
import json
import math
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

Record = dict[str, Any]

OURS = "tightbound"
DEFAULT_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PACKAGES = ("tightbound", "jax", "scikit-learn", "numpy", "pandas", "lightgbm", "sdmetrics", "ctgan", "pyod", "torch")
MOST_THREADS = 2

# What a library may raise when it is given a table that it cannot take: reported, and the next one has its turn.
TROUBLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError, MemoryError)


class LeftOutError(Exception):
    """A set or a contender cannot be had here; the message says so in one sentence."""


# --- Tables ---------------------------------------------------------------------------------------------------------


def data_folder() -> Path:
    """Where the tables are: TIGHTBOUND_DATA, or shared/data beside the checkout."""
    return Path(os.environ.get("TIGHTBOUND_DATA", DEFAULT_DATA)) / "tables"


def existing(name: str) -> Path:
    """The path of a file among the tables."""
    path = data_folder() / name
    if not path.exists():
        raise LeftOutError(
            f"{name} is not in {data_folder()}; set TIGHTBOUND_DATA to the folder that has tables/{name}, or leave "
            f"that set out with --sets."
        )
    return path


def read_arrays(name: str) -> Mapping[str, np.ndarray]:
    """The arrays of an .npz file."""
    return np.load(existing(f"{name}.npz"), allow_pickle=False)


def read_frame(name: str, drop: Sequence[str] = ()) -> pd.DataFrame:
    """A table with numbers as float64 and categories as strings; what is empty in the file is missing, nothing else."""
    schema = json.loads(existing("schema.json").read_text(encoding="utf-8"))[name]
    words = {column["name"]: str for column in schema["columns"] if "levels" in column}
    frame = pd.read_csv(existing(f"{name}.csv.gz"), dtype=words, keep_default_na=False, na_values=[""])
    numbers = [column for column in frame.columns if column not in words]
    return frame.astype(dict.fromkeys(numbers, np.float64)).drop(columns=list(drop))


def numeric_columns(frame: pd.DataFrame) -> list[str]:
    """Columns of numbers; the others are categories."""
    return [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]


def categorical_columns(frame: pd.DataFrame) -> list[str]:
    """Columns of words."""
    return [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]


def some_rows(frame: pd.DataFrame, n: int, seed: int = 0) -> pd.DataFrame:
    """n rows at random, the same ones for everybody; all of them if there are fewer."""
    if len(frame) <= n:
        return frame.reset_index(drop=True)
    chosen = np.random.default_rng(seed).choice(len(frame), n, replace=False)
    return frame.iloc[np.sort(chosen)].reset_index(drop=True)


# --- Options --------------------------------------------------------------------------------------------------------


def parser(doc: str | None, sets: Sequence[str], contenders: Sequence[str]) -> argparse.ArgumentParser:
    """The options that all scripts take."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sets", nargs="+", choices=sets, default=list(sets), metavar="SET", help=", ".join(sets))
    options.add_argument(
        "--contenders", nargs="+", choices=contenders, default=list(contenders), metavar="NAME",
        help=", ".join(contenders),
    )  # fmt: skip
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    options.add_argument("--quick", action="store_true", help="few rows, short fits: to see that everything runs")
    options.add_argument("--json", type=Path, metavar="OUT", help="write the records here, after each of them")
    options.add_argument(
        "--beside", type=Path, nargs="+", default=[], metavar="JSON", help="records of earlier runs for the tables"
    )
    options.add_argument("--threads", type=int, default=MOST_THREADS)
    return options


def start(options: argparse.Namespace) -> None:
    """Hold every library to the threads that were asked for."""
    count = max(1, min(options.threads, MOST_THREADS))
    options.threads = count
    os.environ["OMP_NUM_THREADS"] = str(count)
    if hasattr(os, "sched_setaffinity"):  # JAX has no option for it
        cores = sorted(os.sched_getaffinity(0))
        first = os.getpid() % len(cores)  # so that two runs side by side seldom share one
        os.sched_setaffinity(0, (cores[first:] + cores[:first])[:count])
    threadpool_limits(count)
    warnings.filterwarnings("ignore")


# --- Records --------------------------------------------------------------------------------------------------------


@dataclass
class Journal:
    """The records of a run, and those of earlier ones that stand beside them."""

    path: Path | None = None
    records: list[Record] = field(default_factory=list)
    earlier: list[Record] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Journal":
        """As the options say."""
        earlier = [record for path in options.beside for record in json.loads(path.read_text())["records"]]
        return cls(options.json, earlier=earlier)

    def say(self, sentence: str) -> None:
        """Tell once what is left out."""
        if sentence not in self.left_out:
            self.left_out.append(sentence)
            print(sentence, file=sys.stderr, flush=True)

    def add(self, record: Record) -> None:
        """Keep a record and write all of them."""
        self.records.append(record)
        words = ", ".join(f"{k} {shown(v)}" for k, v in record.items() if not isinstance(v, list | dict))
        print(words, file=sys.stderr, flush=True)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside = self.path.with_suffix(".part")
            about = {"versions": versions(), "machine": platform.machine(), "left_out": self.left_out}
            beside.write_text(json.dumps({**about, "records": self.records}, indent=1) + "\n")
            beside.replace(self.path)

    def all(self) -> list[Record]:
        """This run's records before those of earlier runs, which count only where this one has none."""
        done = {identity(record) for record in self.records}
        return self.records + [record for record in self.earlier if identity(record) not in done]


def identity(record: Record) -> tuple[Any, ...]:
    """What a record is about."""
    return tuple(record.get(name) for name in ("set", "mode", "seed", "contender"))


def versions() -> dict[str, str]:
    """Of what takes part."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@dataclass
class Clock:
    """Seconds of the wall and of all processors together; filled when the block ends."""

    wall: float = math.nan
    cpu: float = math.nan


@contextlib.contextmanager
def timed() -> Iterator[Clock]:
    """Time a block."""
    clock, wall, cpu = Clock(), time.perf_counter(), time.process_time()
    yield clock
    clock.wall, clock.cpu = time.perf_counter() - wall, time.process_time() - cpu


def attempt(journal: Journal, about: Record, work: Callable[[], Record]) -> None:
    """Measure one contender on one case and keep the record; a library that is not here is left out with a sentence."""
    try:
        with timed() as clock:
            found = work()
    except (ImportError, LeftOutError) as error:
        journal.say(f"{about['contender']} is left out: {error}.".replace("..", "."))
    except TROUBLE as error:
        where = ", ".join(f"{name} {value}" for name, value in about.items())
        journal.say(f"{where}: failed with {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    else:
        journal.add({**about, **found, "seconds": clock.wall, "cpu_seconds": clock.cpu})


def ours(name: str) -> Any:
    """A public name of tightbound, fetched when it is needed."""
    import tightbound

    if name not in tightbound.__all__:
        raise LeftOutError(f"this tightbound has no {name}")
    return getattr(tightbound, name)


# --- Pictures of records --------------------------------------------------------------------------------------------


def shown(value: Any) -> str:
    """A number as it stands in a table."""
    if isinstance(value, bool) or not isinstance(value, float | np.floating):
        return str(value)
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"


def mean_over_seeds(records: Sequence[Record], value: str) -> dict[tuple[str, str], tuple[float, float, int]]:
    """(set, contender) -> mean, standard deviation over the seeds (NaN for one), number of seeds."""
    groups: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if record.get(value) is not None and math.isfinite(record[value]):
            groups.setdefault((record["set"], record["contender"]), []).append(float(record[value]))
    return {
        key: (float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else math.nan, len(found))
        for key, found in groups.items()
    }


def ordered(records: Sequence[Record], name: str) -> list[str]:
    """The values of a field, in the order in which they first come."""
    return list(dict.fromkeys(record[name] for record in records))


def mean_ranks(records: Sequence[Record], value: str, higher_is_better: bool = False) -> dict[str, float]:
    """Each contender's rank within a set (1 is best, by the mean over seeds), averaged over the sets that all have."""
    means = mean_over_seeds(records, value)
    contenders = ordered(records, "contender")
    complete = [s for s in ordered(records, "set") if all((s, c) in means for c in contenders)]
    if not complete:
        return {}
    sign = -1.0 if higher_is_better else 1.0
    table = pd.DataFrame([[sign * means[s, c][0] for c in contenders] for s in complete], columns=contenders)
    return dict(table.rank(axis=1).mean())


def show(records: Sequence[Record], value: str, title: str, *, last: Mapping[str, Mapping[str, float]] = {}) -> None:
    """Print contenders against sets: mean over the seeds, with its standard deviation where there are several.

    `last` are further columns: heading -> contender -> number.
    """
    means = mean_over_seeds(records, value)
    if not means:
        return
    sets, contenders = ordered(records, "set"), ordered(records, "contender")
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in (*sets, *last):
        table.add_column(name, justify="right")
    for contender in contenders:
        cells = []
        for each in sets:
            mean, spread, n = means.get((each, contender), (math.nan, math.nan, 0))
            cells.append(shown(mean) + (f" ±{spread:.3f}" if n > 1 else ""))
        extra = [shown(float(column[contender])) if contender in column else "-" for column in last.values()]
        if any(cell != "-" for cell in cells):
            table.add_row(contender, *cells, *extra)
    Console(width=200).print(table)
