"""Make or update a virtual environment that holds this project, from nothing but Python.

    python scripts/environment.py .venv --extra test

uv is used where it is on the path, else venv and pip. A stamp, written last, says what the environment was made from:
while that is unchanged nothing is done, and an environment without one (an interrupted run, a moved folder) is made
anew. This file keeps to syntax that old Pythons read, so that they can be told that they are too old.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    """Read the arguments, and bring the environment to what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="where the environment lies")
    parser.add_argument("--extra", action="append", default=[], help="an optional group of pyproject.toml")
    parser.add_argument("--first", help="a requirement to install alone, by pip, before the rest")
    options = parser.parse_args()
    folder = os.path.abspath(options.folder)
    wanted = describe(folder, options.first)
    found = read_stamp(folder)
    extras = set(options.extra)
    if found is not None and {**found, "extras": None} == wanted:
        if extras <= set(found["extras"]):
            return
        extras |= set(found["extras"])
    # A requirement that must come first is one that only pip finds as this machine sets it up: then pip does it all.
    uv = None if options.first else shutil.which("uv")
    check_python(uv)
    try:
        build(folder, uv, options.first, sorted(extras), keep=found is not None and same_place(found, wanted))
    except subprocess.CalledProcessError as error:
        stop(
            "the environment {} is not finished, because '{}' failed with status {}: see its message above, "
            "mend that, and run make again.".format(options.folder, " ".join(error.cmd), error.returncode)
        )
    write_stamp(folder, {**wanted, "extras": sorted(extras)})


def describe(folder, first):
    """What an environment is made from, apart from its extras."""
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        project = hashlib.sha256(file.read()).hexdigest()
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    return {
        "project": project,
        "folder": folder,
        "python": [base, sys.version],
        "first": first,
        "extras": None,
    }


def same_place(found, wanted):
    """Whether an environment can be updated where it lies, rather than made anew."""
    return all(found.get(name) == wanted[name] for name in ("folder", "python", "first"))


def check_python(uv):
    """Refuse an interpreter that cannot hold the project, with what to do."""
    if uv is not None:  # which finds or brings an interpreter of its own where this one is too old
        return
    if sys.version_info < OLDEST:
        stop(
            "{} must be Python 3.11 or newer, and is {}.{}: install one, or name yours with "
            "'make <target> PYTHON=/path/to/python'.".format(sys.executable, *sys.version_info[:2])
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        stop(
            "{} must have the modules venv and ensurepip, and lacks one: install them "
            "(on Debian and Ubuntu: apt install python3-venv), or install uv.".format(sys.executable)
        )


def build(folder, uv, first, extras, keep):
    """Create the environment, unless it is kept, and install the project into it."""
    print("Preparing {} (a minute or two, once) ...".format(os.path.relpath(folder)), file=sys.stderr, flush=True)
    python = os.path.join(folder, "bin", "python")
    project = "{}[{}]".format(ROOT, ",".join(extras)) if extras else ROOT
    forget_stamp(folder)
    if uv is not None:
        version = sys.executable if sys.version_info >= OLDEST else ">={}.{}".format(*OLDEST)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
            run([uv, "venv", "--quiet", "--python", version, folder])
        run([uv, "pip", "install", "--quiet", "--python", python, "--editable", project])
        return
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", folder])
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--quiet"]
    if first:
        run([*pip, first])
    run([*pip, "--editable", project])


def run(command):
    """Run one installer, apart from the Python settings of whoever called make; its output goes to standard error."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)


def stamp_path(folder):
    """The file whose presence says that the environment is whole."""
    return os.path.join(folder, "tightbound-environment.json")


def read_stamp(folder):
    """What the environment was made from; None where it is missing, or not whole."""
    if not os.access(os.path.join(folder, "bin", "python"), os.X_OK):
        return None
    try:
        with open(stamp_path(folder)) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def write_stamp(folder, stamp):
    """Say that the environment is whole; written aside and renamed, so that it is never half there."""
    with open(stamp_path(folder) + ".part", "w") as file:
        json.dump(stamp, file, indent=1)
    os.replace(stamp_path(folder) + ".part", stamp_path(folder))


def forget_stamp(folder):
    """From here until the end, the environment is not whole."""
    if os.path.exists(stamp_path(folder)):
        os.remove(stamp_path(folder))


def stop(sentence):
    """End with one sentence on standard error and exit status 2."""
    print("make: " + sentence, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        stop("interrupted; run make again, and it starts the environment anew.")
