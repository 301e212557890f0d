"""Count the files of the package that common work passes through, and how deep its calls go.

    python scripts/passes.py [SRC ...]      one column for each folder: python scripts/passes.py ../old/src src

A file counts when one of its own functions runs while the work is done; importing it, and the bodies of its module and
its classes, do not count. Functions are those that ran, each once. Depth is the largest number of functions of ours on
the stack at a time. What comes before (importing the package, fitting the model that is then used) is not counted. Each
piece of work runs in a process of its own, with no compiled programs kept from others. With PASSES_LIST=1 in the
environment the files are listed on standard error.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

NOT_FUNCTIONS = ("<module>", "<lambda>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")
N_ROWS = 200
QUICK = {"epochs": 3, "network": "residual(hidden_sizes=(8,))", "latent_dim": 2, "random_state": 0}


class Tracer:
    """Notes the functions under a folder that run, and how deep."""

    def __init__(self, folder: Path):
        self.folder = str(folder)
        self.seen: set[CodeType] = set()
        self.deepest = 0
        self._ours: dict[CodeType, bool] = {}

    def is_ours(self, code: CodeType) -> bool:
        """Whether it is a function of the package."""
        if code not in self._ours:
            ours = code.co_filename.startswith(self.folder) and code.co_name not in NOT_FUNCTIONS
            self._ours[code] = ours and bool(code.co_flags & 0x2)  # no body of a class: those have no fast locals
        return self._ours[code]

    def __call__(self, frame: FrameType | None, event: str, _: Any) -> None:
        if event != "call" or frame is None or not self.is_ours(frame.f_code):
            return
        self.seen.add(frame.f_code)
        depth = 0
        while frame is not None:
            depth += self.is_ours(frame.f_code)
            frame = frame.f_back
        self.deepest = max(self.deepest, depth)

    def trace(self, work: Callable[[], Any]) -> None:
        """Do the work, noting; its end by SystemExit is an end like another."""
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            work()
        except SystemExit as end:
            if end.code:
                raise
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]


def numbers(gaps: bool = False) -> Any:
    """Three real columns that go together."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(N_ROWS, 1)) + 0.5 * rng.normal(size=(N_ROWS, 3))
    x[gaps & (rng.random(x.shape) < 0.05)] = np.nan
    return x


def mixed_csv(place: Path) -> None:
    """A table of numbers, counts, levels and a yes or no, with gaps."""
    import numpy as np

    rng = np.random.default_rng(0)
    rows = ["height,age,colour,member"]
    for height, age, colour, member in zip(
        rng.normal(170, 10, N_ROWS),
        rng.poisson(30, N_ROWS),
        rng.choice(["red", "blue", "green"], N_ROWS),
        rng.choice(["yes", "no"], N_ROWS),
        strict=True,
    ):
        rows.append(f"{'' if rng.random() < 0.1 else round(height, 3)},{age},{colour},{member}")
    place.write_text("\n".join(rows) + "\n")


def fit_command() -> Callable[[], None]:
    """`tightbound fit table.csv -o m` to its report."""
    from tightbound.__main__ import main

    mixed_csv(Path("table.csv"))
    options = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]
    sys.argv = ["tightbound", "fit", "table.csv", "-o", "m", "--network=residual(hidden_sizes=8)", "--quiet", *options]
    return main


def fit() -> Callable[[], Any]:
    """`VAE().fit(X)`."""
    from tightbound import VAE

    x = numbers()
    return lambda: VAE(**QUICK).fit(x)


def score_samples() -> Callable[[], Any]:
    """`.score_samples(X)` of a fitted model, by importance sampling."""
    from tightbound import VAE

    x = numbers()
    model = VAE(**QUICK, scoring_method="importance").fit(x)
    return lambda: model.score_samples(x)


def impute() -> Callable[[], Any]:
    """`.impute(X)` of a fitted model."""
    from tightbound import VAE

    x = numbers(gaps=True)
    model = VAE(**QUICK).fit(x)
    return lambda: model.impute(x)


WORK = {
    "tightbound fit table.csv -o m": fit_command,
    "VAE().fit(X)": fit,
    ".score_samples(X)": score_samples,
    ".impute(X)": impute,
}


def one(src: Path, name: str) -> None:
    """Do one piece of work in this process, and print what it passed."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        work = WORK[name]()
        tracer = Tracer(src / "tightbound")
        out = os.dup(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the command prints is not asked for here
        tracer.trace(work)
        sys.stdout.flush()
        os.dup2(out, 1)
        if os.environ.get("PASSES_LIST"):
            for place in sorted({code.co_filename for code in tracer.seen}):
                print(os.path.relpath(place, src), file=sys.stderr)
        files = {code.co_filename for code in tracer.seen}
        print(len(files), len(tracer.seen), tracer.deepest)
        os.chdir("/")


def passed(src: Path, name: str) -> str:
    """What one piece of work passes through, from a fresh process."""
    environment = {**os.environ, "PYTHONPATH": str(src), "TIGHTBOUND_CACHE": "", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, __file__, "--one", str(src), name]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    files, functions, depth = done.stdout.split()[-3:]
    return f"{files} files, {functions} functions, {depth} deep"


def main() -> None:
    """Print one column for every folder."""
    if sys.argv[1:2] == ["--one"]:
        one(Path(sys.argv[2]), sys.argv[3])
        return
    places = [Path(each).resolve() for each in sys.argv[1:] or ["src"]]
    print(f"{'':<32}" + "".join(f"{place!s:<40}" for place in places).rstrip())
    for name in WORK:
        print(f"{name:<32}" + "".join(f"{passed(place, name):<40}" for place in places).rstrip(), flush=True)


if __name__ == "__main__":
    main()
