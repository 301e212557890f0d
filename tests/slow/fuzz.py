"""Commands on inputs and options that nobody should give, in one process; run by test_fuzz.py."""

import contextlib
import functools
import gzip
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import typer

from tightbound.cli.app import app, main

MOST_SECONDS = 60.0
FEW = ("--latent-dim=1", "--network=residual(hidden_sizes=4)", "--epochs=2", "--no-checks", "--no-report", "-q")
SAFE = ("-s", "3", "--method=importance")
"""What keeps a scoring that is accepted short."""
CELLS = (
    "", " ", "NA", "nan", "inf", "-inf", "1e308", "1e309", "-1e-320", "0", "-0", "1", "007", "1,5", "1.234.567,8",
    "1'000", "12%", "$3", "€5", "2020-02-30", "2020-01-01", "9999-12-31", "25:61", "true", "No", "①", "３", "٣", "½",
    "a", "u", "v", '"', '""', "'", "\\", "\x00", "\x1b[31m", "\u202e", "\ufeff", "é", "😀", "x" * 3000, "9" * 400,
    "18446744073709551616", "=1+1", "[1,2]", "{}", "None", "null", "#", "\t", ";", "|", "\r", "\n",
)  # fmt: skip
TEXTS = (
    "", "-", "--", "nowhere", "a", "a,b", "id", "kind", "0", "1", "2", "-1", "1e12", "1000000000000", "nan", "inf",
    "-inf", "0.5", "1.5", "true", "x" * 500, "é", "\x1b[31m", "a=1", "a=1..2", "a=", "=1", "a=x|y", "kind=u",
    "kind=zz", "b=..", "mixture", "full", "mixture(n_components=0)", "mixture(n_components=3", "mixture(a=1)",
    "own", "gaussian(covariance=round)", "__import__('os')", "auto", "columns", "vamp", "iaf(flow_layers=1e9)",
    "elbo(beta=nan)", "[]", "{}", "None", "(1,2)", "../x", "/dev/null/x", "/",
)  # fmt: skip
OUTPUTS = (
    "out.csv", "out.tsv", "out.csv.gz", "out.parquet", "out.npy", "out.npz", "out.html", "out.json", "out",
    "no/out.csv", "-",
)  # fmt: skip
COMMANDS = (
    "score", "schema", "impute", "detect", "encode", "reconstruct", "sample", "fit", "evaluate", "report",
    "compare", "info",
)  # fmt: skip
WEIGHTS = (20, 25, 10, 8, 8, 8, 8, 20, 2, 1, 2, 4)
REFUSED = ("--epochs=0", "--likelihood=magic", "--label=nothing", "--batch-size=1000000000000", "--dtype=x")
NAMES = ("t.csv", "t.tsv", "t.csv.gz", "t.parquet", "t.npy", "t.npz", "t.txt", "t", "T.CSV", "-")


@functools.cache
def options_of(command: str) -> tuple[tuple[str, bool], ...]:
    """Every option of a command, and whether it is a flag."""
    found = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    named = [each for each in found if each.opts[0].startswith("-")]
    return tuple((each.opts[0], bool(getattr(each, "is_flag", False))) for each in named)


def table(rng: random.Random) -> list[list[str]]:
    """A table as a command would like it."""
    rows = [["a", "b", "c", "kind"]]
    for _ in range(rng.choice((0, 1, 2, 12, 12, 12))):
        numbers = (rng.gauss(0, 1), rng.gauss(1000, 100), rng.gauss(0, 1))
        rows.append([*(f"{number:.4f}" for number in numbers), rng.choice("uvw")])
    return rows


def spoilt(rows: list[list[str]], rng: random.Random) -> list[list[str]]:
    """The same with something odd in it."""
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        deed, row = rng.random(), rng.choice(rows)
        if deed < 0.6 and row:
            row[rng.randrange(len(row))] = rng.choice(CELLS)
        elif deed < 0.7:
            row.append(rng.choice(CELLS))
        elif deed < 0.8 and row:
            row.pop()
        elif deed < 0.87:
            rows.insert(rng.randrange(len(rows) + 1), [])
        elif deed < 0.94 and rows[0]:
            j = rng.randrange(len(rows[0]))
            odd = rng.choice(CELLS)
            for each in rows[1:]:
                if j < len(each):
                    each[j] = odd
        else:
            rows[0] = [rng.choice(("a", "b", "c", "", "kind", "id", "\x1b")) for _ in rows[0]]
    return rows


def as_bytes(rows: list[list[str]], name: str, rng: random.Random) -> bytes:
    """A file of the kind that its name says, most often."""
    separator = rng.choice((",", ",", ",", "\t", ";", "|", " "))
    text = rng.choice(("\n", "\n", "\r\n", "\r")).join(separator.join(row) for row in rows)
    encoded = text.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin1", "utf-32")), "replace")
    suffix = name.lower().removeprefix("t")
    stream = io.BytesIO()
    if rng.random() < 0.1:
        return encoded
    if suffix == ".csv.gz":
        return gzip.compress(encoded)
    if suffix == ".parquet":
        width = max(map(len, rows[1:]), default=1)
        names = ["a", "b", "c", "kind", *(f"c{j}" for j in range(4, width))]
        columns = {names[j]: [row[j] if j < len(row) else None for row in rows[1:]] for j in range(width)}
        frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
        numbers = pl.col("^[abc]$").cast(pl.Float64, strict=False)
        (frame.with_columns(numbers) if rng.random() < 0.7 else frame).write_parquet(stream)
        return stream.getvalue()
    if suffix in (".npy", ".npz"):
        shape = rng.choice(((12, 3), (12,), (0, 3), (12, 0), (2, 3, 4), (), (12, 3)))
        kind = rng.choice(("f8", "f8", "f2", "i8", "u1", "b1", "U3", "M8[D]", "c16", "S2"))
        array = np.zeros(shape, kind)
        if kind == "f8":
            array = array + rng.choice((1.0, np.nan, np.inf, 1e308)) * np.arange(array.size).reshape(shape)
        if suffix == ".npy":
            np.save(stream, array, allow_pickle=False)
        else:
            np.savez(stream, **{rng.choice(("x", "a", "y")): array})
        return stream.getvalue()
    return encoded


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some of the bytes lost, doubled or turned; mostly none."""
    deed = rng.random()
    if deed < 0.75 or not data:
        return data
    at = rng.randrange(len(data))
    if deed < 0.85:
        return data[:at]
    if deed < 0.95:
        turned = bytearray(data)
        for _ in range(rng.choice((1, 3, 30))):
            turned[rng.randrange(len(turned))] = rng.randrange(256)
        return bytes(turned)
    return data[:at] + rng.choice((b"\x00" * 50, b'"', b"\xff", b"\n" * 100, data[:at])) + data[at:]


@dataclass
class Case:
    """What is given."""

    arguments: list[str]
    stdin: bytes = b""


def case(rng: random.Random, place: Path, models: list[str]) -> Case:
    """A command on files of a fresh folder."""
    command = rng.choices(COMMANDS, WEIGHTS)[0]
    name = rng.choice(NAMES)
    data = damaged(as_bytes(spoilt(table(rng), rng), name, rng), rng)
    made = Case([command])
    if name == "-":
        made.stdin = data
    else:
        (place / name).write_bytes(data)
    model = rng.choice((*models, *models, *models, "nowhere", name)) if command not in ("schema", "fit") else None
    made.arguments += [model] if model else []
    if command == "compare":
        made.arguments.append(rng.choice(models))
    if command not in ("sample", "info"):
        made.arguments.append(name if rng.random() < 0.95 else rng.choice(TEXTS))
    if command in ("score", "evaluate", "report", "compare"):
        made.arguments += SAFE
    if command == "fit":
        made.arguments += [*FEW, "-o", "model"]
    elif command not in ("info", "evaluate") and rng.random() < 0.7:
        made.arguments += ["-o", rng.choice((*OUTPUTS, name))]
    for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
        option, flag = rng.choice(options_of(command))
        if option not in ("--help", "--output"):
            made.arguments += [option] if flag else [option, rng.choice(TEXTS)]
    if command == "fit" and rng.random() < 0.8:  # one that is refused costs nothing
        made.arguments.append(rng.choice(REFUSED))
    return made


class TooLongError(BaseException):
    """Beyond the seconds that a command may take."""


def too_long(number: int, frame: Any) -> None:
    raise TooLongError


def run(made: Case) -> tuple[int, bytes, str]:
    """Status, output and error of the command line; -1 and a traceback where it fell."""
    before = sys.argv, sys.stdin, sys.stdout, sys.stderr
    sys.argv = ["tightbound", *made.arguments]
    sys.stdin = io.TextIOWrapper(io.BytesIO(made.stdin))
    sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True), io.StringIO()
    status, said = 0, ""
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        main()
    except SystemExit as end:
        status = int(end.code or 0)
    except TooLongError:
        status, said = -1, "it hung"
    except BaseException:  # noqa: BLE001 (what a user would see as a traceback)
        status, said = -1, traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        out: Any = sys.stdout
        error: Any = sys.stderr
        sys.argv, sys.stdin, sys.stdout, sys.stderr = before
    return status, out.buffer.getvalue(), said or error.getvalue()


def faults_of(status: int, out: bytes, error: str, before: set[str], after: set[str]) -> list[str]:
    """What is wrong with how a command ended."""
    if status == -1:
        return [error if len(error) < 600 else "... " + error[-600:]]
    found = []
    left = {name for name in after - before if ".part" in name or ".lock" in name}
    if left:
        found.append(f"left {sorted(left)}")
    if status == 2:
        *notes, last = error.rstrip("\n").split("\n")
        sentence = last.startswith("tightbound: ") and last.endswith(".") and len(last) < 3000
        if not sentence or any(not re.match("note: |[A-Z]|epoch ", note) for note in notes if note):
            found.append(f"refused with {error[-400:]!r}")
        if after - before - left:
            found.append(f"refused, and left {sorted(after - before)}")
        if out:
            found.append(f"refused, and wrote {out[:100]!r}")
    elif status != 0:
        found.append(f"ended with {status}: {error[-400:]!r}")
    if {"\x1b", "\x00", "\x07"} & {*error}:
        found.append(f"sent control characters: {error[-200:]!r}")
    return found


def everything(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def try_all(place: Path, times: int, seed: int) -> dict[str, Any]:
    """So many cases."""
    good = random.Random(1)
    rows = [row for _ in range(20) for row in table(good)[1:]]
    (place / "good.csv").write_text("\n".join(["a,b,c,kind", *(",".join(row) for row in rows)]))
    models = []
    for name, options in (("mixed", []), ("numbers", ["--drop=kind"])):
        models.append(str(place / name))
        status, _, error = run(Case(["fit", str(place / "good.csv"), "-o", models[-1], *FEW, *options]))
        assert status == 0, error
    signal.signal(signal.SIGALRM, too_long)
    faults: list[str] = []
    ended: dict[str, int] = {}
    slowest = 0.0
    for number in range(times):
        rng = random.Random(f"{seed} {number}")
        folder = place / "work"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        os.chdir(folder)
        made = case(rng, folder, models)
        before, started = everything(folder), time.monotonic()
        status, out, error = run(made)
        slowest = max(slowest, time.monotonic() - started)
        ended[str(status)] = ended.get(str(status), 0) + 1
        found = faults_of(status, out, error, before, everything(folder))
        faults += [f"case {number}, {' '.join(made.arguments)[:300]!r}: {fault}" for fault in found]
        if number % 100 == 0:
            print(f"{number} of {times}: {len(faults)} faults", file=sys.stderr, flush=True)
    return {"cases": times, "faults": faults, "statuses": ended, "slowest, s": round(slowest, 1)}


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(try_all(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), indent=1))
