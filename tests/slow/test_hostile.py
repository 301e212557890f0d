"""Folders that somebody made to harm: refused in a sentence or loaded; nothing runs, little is spent.

How many: $TIGHTBOUND_HOSTILE (1000); with which seed: $TIGHTBOUND_SEED (0).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDERS, SEED = (os.environ.get(n, usual) for n, usual in (("TIGHTBOUND_HOSTILE", "1000"), ("TIGHTBOUND_SEED", "0")))


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_hostile_folders(tmp_path):
    ours = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    script = Path(__file__).with_name("hostile.py")
    command = [sys.executable, str(script), str(tmp_path), FOLDERS, SEED]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=ours, check=False)
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["folders"] == int(FOLDERS) and found["executed"] == []
    assert found["faults"] == [], "\n".join(found["faults"])
