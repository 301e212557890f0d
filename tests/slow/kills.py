"""Kills commands at random moments and at each step of their writing, and sees what is left; run by test_kills.py.

One process imports everything and starts nothing; each command runs in a fork of it. So a command costs what it does,
and not what starting it does.
"""

import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tightbound.data import atomic

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SMALL = ("--latent-dim=1", "--network=residual(hidden_sizes=8)", "--epochs=400", "--patience=0", "--no-checks", "-q")
LONGEST = 120.0
IMPORTED = ("cli.app", "estimator.vae", "estimator.evaluate", "estimator.folder", "data.read.files", "report")
STEPS = ("rename", "replace", "unlink", "rmdir")
"""The calls by which a name changes what it stands for; `_exchange` is the fifth."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    """The exit status, or minus the signal."""
    error: str
    seconds: float


def forked(work: Callable[[], object], place: Path, kill: "Callable[[int], None] | None" = None) -> Ended:
    """What comes of `work` in a fork; `kill` may do something to the process meanwhile."""
    started = time.monotonic()
    process = os.fork()
    if process == 0:
        status = 70
        try:
            os.setsid()
            for number, stream in ((0, os.devnull), (1, place / "stdout"), (2, place / "stderr")):
                os.dup2(os.open(stream, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644), number)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            status = int(work() or 0)
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            if (error := sys.exc_info()[1]) is not None:
                traceback.print_exception(error)
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)
    if kill is not None:
        kill(process)
    while True:
        ended, code = os.waitpid(process, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - started > LONGEST:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return Ended(-99, "it hung", time.monotonic() - started)
        time.sleep(0.002)
    status = os.waitstatus_to_exitcode(code)
    return Ended(status, (place / "stderr").read_text(errors="replace"), time.monotonic() - started)


def command(*arguments: object) -> Callable[[], None]:
    """The command line."""

    def run() -> None:
        sys.argv = ["tightbound", *map(str, arguments)]
        importlib.import_module("tightbound.cli").main()

    return run


def saved(source: Path, target: Path) -> Callable[[], None]:
    """`VAE.save` over a model."""

    def run() -> None:
        import tightbound

        tightbound.load(source).save(target, overwrite=True)

    return run


@dataclass
class Scenario:
    """A piece of work that leaves one thing."""

    name: str
    target: str
    run: Callable[[Path, bool], Callable[[], None]]
    """In a folder, for the first or a further time."""
    before: Callable[[Path], None] = lambda folder: None
    seconds: float = 0.0
    steps: int = 0
    expected: dict[str, bytes] = field(default_factory=dict)
    old: dict[str, bytes] = field(default_factory=dict)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, but for what differs between two runs of the same work: how long they took."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.endswith("model.json"):
            description = json.loads(path.read_text())
            description["training"].pop("seconds"), description.pop("digest")
            found[name] = json.dumps(description).encode()
        else:
            found[name] = path.read_bytes() if path.is_file() else b""
    return found


def dying(
    work: Callable[[], None], at: int, number: int, after: bool, count: "Path | None" = None
) -> Callable[[], None]:
    """The work, in which the `at`-th change of a name is its last deed (or comes too late)."""

    def run() -> None:
        calls = 0

        def watched(inner: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                nonlocal calls
                calls += 1
                if count is not None:
                    count.write_text(str(calls))
                if calls == at and not after:
                    os.kill(os.getpid(), number)
                result = inner(*arguments, **named)
                if calls == at and after:
                    os.kill(os.getpid(), number)
                return result

            return call

        for each in STEPS:
            setattr(os, each, watched(getattr(os, each)))
        atomic._exchange = watched(atomic._exchange)
        work()

    return run


def scenarios(place: Path) -> list[Scenario]:
    """All of them; the folder `place` has the model m, another one, and the table t.csv."""
    t, m, other = place / "t.csv", place / "m", place / "other"
    fitting = ("fit", t, *SMALL, "--no-report", "-o")

    def fit(folder: Path, again: bool) -> Callable[[], None]:
        return command(*fitting, folder / "out", *(["--resume"] if again else []))

    def refit(folder: Path, again: bool) -> Callable[[], None]:
        return command(*fitting, folder / "out", "--overwrite", *(["--resume"] if again else []))

    def score(folder: Path, again: bool) -> Callable[[], None]:
        return command("score", m, t, "-s", 3000, "-o", folder / "out.csv", "-q", *(["--resume"] if again else []))

    def impute(folder: Path, again: bool) -> Callable[[], None]:
        return command("impute", m, t, "-o", folder / "out.csv", "-q")

    def report(folder: Path, again: bool) -> Callable[[], None]:
        return command("report", m, t, "--no-checks", "-q", "-o", folder / "out.html")

    def old_model(folder: Path) -> None:
        shutil.copytree(other, folder / "out")

    return [
        Scenario("fit", "out", fit),
        Scenario("fit --overwrite", "out", refit, old_model),
        Scenario("score", "out.csv", score),
        Scenario("impute", "out.csv", impute),
        Scenario("save", "out", lambda folder, again: saved(m, folder / "out"), old_model),
        Scenario("report", "out.html", report),
    ]


def prepare(place: Path) -> None:
    """The table, two models, and what each piece of work leaves when nothing happens to it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 1)) + 0.5 * rng.normal(size=(600, 4))
    lines = [",".join("" if rng.random() < 0.05 else f"{value:.4f}" for value in row) for row in x]
    (place / "t.csv").write_text("\n".join(["a,b,c,d", *lines]) + "\n")
    for name, seed in (("m", 0), ("other", 1)):
        done = forked(
            command("fit", place / "t.csv", *SMALL, "--no-report", "--random-state", seed, "-o", place / name), place
        )
        assert done.status == 0, done.error


def learn(scenario: Scenario, place: Path) -> None:
    """What the work leaves, how long it takes, and how often a name changes in it."""
    folder = fresh(place)
    scenario.before(folder)
    scenario.old = contents(folder)
    count = place / "count"
    count.write_text("0")
    done = forked(dying(scenario.run(folder, False), -1, 0, False, count), place)
    assert done.status == 0, done.error
    scenario.seconds, scenario.steps, scenario.expected = done.seconds, int(count.read_text()), contents(folder)


def fresh(place: Path) -> Path:
    folder = place / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def faults_after(scenario: Scenario, killed: Ended, folder: Path, number: int) -> Iterator[str]:
    """What is wrong right after a kill."""
    if "Traceback" in killed.error or killed.status == -99:
        yield f"said {killed.error[-300:]}"
    told = killed.error.strip().splitlines()
    if killed.status == 128 + number and not (told and told[-1].startswith("tightbound: Interrupted")):
        yield f"did not say that it was interrupted: {killed.error[-300:]}"
    if killed.status not in (0, -number, 128 + number):
        yield f"ended with {killed.status}: {killed.error[-300:]}"
    now = {name: data for name, data in contents_if_whole(folder).items() if name.split("/")[0] == scenario.target}
    wanted = [
        {n: d for n, d in state.items() if n.split("/")[0] == scenario.target}
        for state in (scenario.old, scenario.expected)
    ]
    if now and now not in wanted:
        yield f"left a part of {scenario.target}: {sorted(now)}"
    if scenario.old and not now:
        yield f"{scenario.target}, which was there, is not: {sorted(everything)}"


def contents_if_whole(folder: Path) -> dict[str, bytes]:
    try:
        return contents(folder)
    except ValueError:
        return {"out/broken": b""}


def faults_in_the_end(scenario: Scenario, place: Path, folder: Path) -> Iterator[str]:
    """What is wrong after the next run."""
    again = forked(scenario.run(folder, True), place)
    refused = again.status == 2 and "that fit has ended" in again.error
    if again.status != 0 and not refused:
        yield f"the next run ended with {again.status}: {again.error[-400:]}"
    left = contents_if_whole(folder)
    if set(left) != set(scenario.expected):
        yield f"left over: {sorted(set(left) ^ set(scenario.expected))}"
    elif left != scenario.expected:
        yield f"other bits in {[name for name in left if left[name] != scenario.expected[name]]}"


def one(scenario: Scenario, place: Path, rng: random.Random, step: int | None) -> list[str]:
    """One kill: at a random moment (step None), or around the so many-th change of a name."""
    number, after = rng.choice(SIGNALS), rng.random() < 0.5
    folder = fresh(place)
    scenario.before(folder)
    work = scenario.run(folder, False)
    if step is None:
        wait = rng.random() * scenario.seconds

        def kill(process: int) -> None:
            time.sleep(wait)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

        killed, moment = forked(work, place, kill), f"{signal.Signals(number).name} after {wait:.2f} s"
    else:
        killed = forked(dying(work, step, number, after), place)
        moment = f"{signal.Signals(number).name} {'after' if after else 'before'} change {step} of {scenario.steps}"
    found = [*faults_after(scenario, killed, folder, number), *faults_in_the_end(scenario, place, folder)]
    return [f"{scenario.name}, {moment}: {fault}" for fault in found]


def kill_all(place: Path, times: int, seed: int) -> dict[str, Any]:
    """So many kills, half of them at changes of names, spread over the scenarios."""
    for name in IMPORTED:
        importlib.import_module(f"tightbound.{name}")
    rng = random.Random(seed)
    prepare(place)
    every = scenarios(place)
    for scenario in every:
        learn(scenario, place)  # its programs are compiled, and kept by renaming files
        learn(scenario, place)
    faults: list[str] = []
    for turn in range(times):
        scenario = every[turn % len(every)]
        round_ = turn // len(every)
        step = 1 + (round_ // 2) % scenario.steps if round_ % 2 == 0 and scenario.steps else None
        faults += one(scenario, place, rng, step)
        print(f"{turn + 1} of {times}: {scenario.name}, {len(faults)} faults", file=sys.stderr, flush=True)
    steps = {scenario.name: scenario.steps for scenario in every}
    return {"kills": times, "faults": faults, "changes of names": steps}


if __name__ == "__main__":
    print(json.dumps(kill_all(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), indent=1))
