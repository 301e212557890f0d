"""One process for one contender: prepare it, then run an epoch whenever a line on standard input asks for one.

    python benchmarks/worker.py '{"name": "plain", "rows": "rows.npy", "batch": 100, "threads": [1, 2]}'

JAX's threads and PyTorch's would contend for the same cores within a process, and an allocator's peak would be
anyone's. So each contender has a process of its own, which sleeps on a pipe while another one is at work. Answers are
lines of JSON on what was standard output; whatever the libraries print goes to standard error.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from contenders import Contender, MissingError, build


def peak_memory() -> float:
    """The most memory that this process has held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # unlike getrusage's, this one does not begin with the parent's
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def timed_epoch(contender: Contender) -> dict[str, float]:
    """One epoch: its seconds, and its mean bound in nats a row."""
    start = time.perf_counter()
    bound = contender.epoch()
    return {"seconds": time.perf_counter() - start, "bound": bound}


def private_stdout() -> TextIO:
    """Standard output for the answers alone; prints of the libraries go to standard error from now on."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return answers


def main() -> None:
    """Prepare, tell about it, then answer every line with an epoch until the input ends."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    answers = private_stdout()
    rows = np.load(task["rows"]).astype(np.float32)
    try:
        contender, threads = build(task["name"], rows, task["batch"], task["threads"])
        ready = {"threads": threads, "first": timed_epoch(contender)}
    except MissingError as missing:
        print(json.dumps({"missing": str(missing)}), file=answers)
        return
    timed_epoch(contender)  # allocators and caches settle
    print(json.dumps(ready), file=answers)
    for _ in sys.stdin:
        print(json.dumps({**timed_epoch(contender), "memory": peak_memory()}), file=answers)


if __name__ == "__main__":
    main()
