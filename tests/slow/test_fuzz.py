"""Inputs and options that nobody should give: a result or one sentence; no traceback, no hang, nothing half written.

How many: $TIGHTBOUND_FUZZ (10000); with which seed: $TIGHTBOUND_SEED (0).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES, SEED = (os.environ.get(n, usual) for n, usual in (("TIGHTBOUND_FUZZ", "10000"), ("TIGHTBOUND_SEED", "0")))


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_fuzzed_commands(tmp_path):
    ours = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    script = Path(__file__).with_name("fuzz.py")
    command = [sys.executable, str(script), str(tmp_path), CASES, SEED]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=ours, check=False)
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["cases"] == int(CASES)
    assert found["faults"] == [], "\n".join(found["faults"])
