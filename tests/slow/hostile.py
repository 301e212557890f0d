"""Loads folders that somebody made to harm: what it costs, and whether anything ran; run by test_hostile.py."""

import contextlib
import copy
import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tightbound.cli.app import main
from tightbound.estimator.folder import MODEL_FILE, WEIGHTS_FILE, load_model, sealed

MOST_SECONDS, MOST_BYTES = 10.0, 2**30
FEW = ("--latent-dim=2", "--network=residual(hidden_sizes=(4,4))", "--epochs=2", "--no-checks", "--no-report", "-q")
MODELS = (
    ("numbers", ("--posterior=iaf(flow_layers=2)", "--prior=mixture(n_components=3)")),
    ("mixed", ("--prior=vamp(n_components=3)", "--encoder=set")),
    ("mixed", ()),
)
RAN = "payload-ran"
CODE = f"__import__('pathlib').Path('{RAN}').touch()"
PAYLOADS = (
    "payload",
    "payload:run",
    "payload.run",
    "os:system",
    "builtins:exec",
    CODE,
    f"{{{{{CODE}}}}}",
    "!!python/name",
)
NUMBERS = (0, -1, -5, 1, 2, 7, 10**4, 10**6, 10**9, 2**31, 2**63, 10**30, 10**400, 10**4000, 0.5, 1e-320, 1e308, -1e308)
WORDS = ("", "x", "NaN", "gaussian", "vamp", "\x1b[31m", "\u202e", "../../etc/passwd", "/dev/zero", "a" * 10**6)
FORMS = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"number": "NaN"},
    {"number": "-Infinity"},
    {"member": "own", "name": "x"},
)
EVENTS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "pickle.find_class",
    "socket.connect",
)


def anything(rng: random.Random, inside: bool = False) -> Any:
    """A value that nobody expects."""
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(NUMBERS)
    if kind < 0.6:
        return rng.choice((*PAYLOADS, *WORDS))
    if kind < 0.85 or inside:
        return copy.deepcopy(rng.choice(FORMS))
    if kind < 0.95:
        return [anything(rng, inside=True) for _ in range(rng.choice((1, 3, 200)))]
    return json.loads("[" * 400 + "]" * 400) if rng.random() < 0.5 else [0] * 10**5


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to everything inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*at, key)
        yield from places(item, (*at, key))


def changed(description: Any, rng: random.Random) -> Any:
    """model.json with something else at one to three places."""
    made = copy.deepcopy(description)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        # The first levels weigh as much as all that is deep inside.
        every = list(places(made))
        depth = rng.choice((1, 2, 3, 9))
        *way, key = rng.choice([place for place in every if len(place) <= depth] or every)
        holder = made
        for step in way:
            holder = holder[step]
        deed = rng.random()
        if deed < 0.7:
            holder[key] = anything(rng)
        elif deed < 0.85:
            del holder[key]
        elif isinstance(holder, dict):
            holder[rng.choice(("home", "word", "axis", "value", "__class__", "payload", "extra"))] = anything(rng)
        else:
            holder.extend(holder[:1] * rng.choice((1, 1000)))
    return made


def with_json(folder: Path, rng: random.Random) -> None:
    """Another model.json, mostly sealed again."""
    made = changed(json.loads((folder / MODEL_FILE).read_text()), rng)
    if isinstance(made, dict) and rng.random() < 0.9:
        with contextlib.suppress(ValueError, RecursionError):
            (folder / MODEL_FILE).write_bytes(sealed(made))
            return
    with contextlib.suppress(ValueError, RecursionError):
        (folder / MODEL_FILE).write_text(json.dumps(made))


def with_header(folder: Path, rng: random.Random) -> None:
    """Weights that say something else of themselves."""
    data = (folder / WEIGHTS_FILE).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    entry = header[rng.choice([name for name in header if name != "__metadata__"])]
    deed = rng.choice(("dtype", "shape", "data_offsets", "other"))
    if deed == "dtype":
        kinds = ("BF16", "F8_E4M3", "F8_E5M2", "F4", "C64", "F16", "F64", "BOOL", "U64", "O", "", None, 5, "payload")
        for each in header.values() if rng.random() < 0.5 else [entry]:
            if "dtype" in each:
                each["dtype"] = rng.choice(kinds)
    elif deed == "shape":
        entry["shape"] = rng.choice(
            ([], [0], [-1], [2**62], [2**40, 2**40], [1] * 10**5, "x", None, [1.5], [anything(rng)])
        )
    elif deed == "data_offsets":
        entry["data_offsets"] = rng.choice(([0, 0], [0, 2**63], [-8, 8], [8, 0], [0], None, [0, 10**30]))
    else:
        header[rng.choice(("__metadata__", "x", "p"))] = anything(rng)
    text = json.dumps(header).encode()
    size = rng.choice((len(text), len(text), len(text), 2**63, 0, 2**40, len(text) + 8))
    (folder / WEIGHTS_FILE).write_bytes(struct.pack("<Q", size) + text + data[8 + length :])


def with_bytes(folder: Path, rng: random.Random) -> None:
    """Some bytes of one of the files changed, lost, repeated, or all of them others."""
    place = folder / rng.choice((MODEL_FILE, WEIGHTS_FILE))
    data = bytearray(place.read_bytes())
    deed = rng.random()
    if deed < 0.4:
        for _ in range(rng.choice((1, 8, 100))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif deed < 0.6:
        del data[rng.randrange(len(data)) :]
    elif deed < 0.8:
        data += data[: rng.randrange(len(data))] * rng.choice((1, 100))
    else:
        data = bytearray(
            rng.choice((b"", b"\x80\x04c__builtin__\nexec\n.", b"PK\x03\x04", rng.randbytes(4096), b"[" * 10**6))
        )
    place.write_bytes(data)


def with_no_file(folder: Path, rng: random.Random) -> None:
    """Something else in the place of a file: a pipe, a device, a folder, a loop, far too much."""
    place = folder / rng.choice((MODEL_FILE, WEIGHTS_FILE))
    place.unlink()
    deed = rng.choice(("pipe", "zero", "random", "folder", "loop", "sparse", "tty", "socket", "none", "list"))
    if deed == "pipe":
        os.mkfifo(place)
    elif deed in ("zero", "random", "tty"):
        place.symlink_to(f"/dev/{deed}")
    elif deed == "folder":
        place.mkdir()
    elif deed == "loop":
        place.symlink_to(place)
    elif deed == "sparse":
        place.touch()
        os.truncate(place, rng.choice((2**28, 2**32, 2**40)))
    elif deed == "socket":
        os.mknod(place, 0o140644)
    elif deed == "list":
        place.write_bytes(b"[" + b"[]," * rng.choice((10**6, 2 * 10**7)) + b"[]]")


def with_nan(folder: Path, rng: random.Random) -> None:
    """Weights of NaN and infinity, whose digest is right."""
    from safetensors.numpy import load, save

    from tightbound import learn

    arrays = {name: array.copy() for name, array in load((folder / WEIGHTS_FILE).read_bytes()).items()}
    for name in rng.sample(sorted(arrays), rng.randint(1, len(arrays))):
        if arrays[name].dtype.kind == "f" and arrays[name].size:
            arrays[name].flat[0] = rng.choice((np.nan, np.inf, -np.inf, 3e38))
    description = json.loads((folder / MODEL_FILE).read_text())
    description["weights_digest"] = learn.digest(arrays)
    (folder / WEIGHTS_FILE).write_bytes(save(arrays))
    (folder / MODEL_FILE).write_bytes(sealed(description))


HARMS: tuple[tuple[Callable[[Path, random.Random], None], int], ...] = (
    (with_json, 60), (with_header, 15), (with_bytes, 12), (with_no_file, 8), (with_nan, 5),
)  # fmt: skip


class TooLongError(BaseException):
    """Beyond the seconds that a folder may take."""


def too_long(number: int, frame: Any) -> None:
    raise TooLongError


def load(folder: Path) -> str | None:
    """What is wrong with how a folder is loaded, if anything."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 3 * MOST_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load_model(folder)
    except ValueError as error:
        said = str(error)
        if "\n" in said or not said.endswith(".") or len(said) > 2000:
            return f"said {said[:500]!r}"
    except TooLongError:
        return "it hung"
    except Exception as error:  # noqa: BLE001 (what any reader of a foreign folder would see)
        return f"{type(error).__name__}: {error}"[:300] + " at " + traceback.format_exc().splitlines()[-3].strip()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    seconds, grown = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if seconds > MOST_SECONDS:
        return f"took {seconds:.1f} s"
    return f"took {grown / 2**20:.2f} GB" if grown * 1024 > MOST_BYTES else None


def fitted(place: Path) -> list[Path]:
    """Small models of several kinds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    rows = [f"{a:.3f},{b:.3f},{c:.3f}" for a, b, c in x]
    (place / "numbers.csv").write_text("\n".join(["a,b,c", *rows]))
    extra = [f"{row},{'uvw'[i % 3]},{rng.poisson(3)},{i % 2}" for i, row in enumerate(rows)]
    (place / "mixed.csv").write_text("\n".join(["a,b,c,kind,count,flag", *extra]))
    for number, (data, options) in enumerate(MODELS):
        sys.argv = ["tightbound", "fit", str(place / f"{data}.csv"), "-o", str(place / f"m{number}"), *FEW, *options]
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):
            main()
    return [place / f"m{number}" for number in range(len(MODELS))]


def load_all(place: Path, times: int, seed: int) -> dict[str, Any]:
    """So many folders."""
    models = fitted(place)
    for model in models:
        load_model(model)
    (place / "payload.py").write_text(f"{CODE}\ndef run(*a, **k): {CODE}\n")
    sys.path.insert(0, str(place))
    os.chdir(place)
    ran: list[str] = []
    sys.addaudithook(lambda event, arguments: ran.append(event) if event in EVENTS else None)
    signal.signal(signal.SIGALRM, too_long)
    faults: list[str] = []
    for number in range(times):
        rng = random.Random(f"{seed} {number}")
        harm = rng.choices([each for each, _ in HARMS], [weight for _, weight in HARMS])[0]
        folder = place / "hostile"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(rng.choice(models), folder)
        harm(folder, rng)
        fault = load(folder)
        if fault is not None:
            faults.append(f"folder {number}, {harm.__name__}: {fault}")
            print(faults[-1], file=sys.stderr, flush=True)
        if number % 50 == 0:
            print(f"{number} of {times}: {len(faults)} faults", file=sys.stderr, flush=True)
    executed = [*ran, *(["payload"] if Path(RAN).exists() or "payload" in sys.modules else [])]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"folders": times, "faults": faults, "executed": executed, "peak memory, GB": round(peak, 2)}


if __name__ == "__main__":
    print(json.dumps(load_all(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), indent=1))
