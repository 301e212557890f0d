"""Commands killed at any moment: gone on from or refused, to the same bits, with nothing left over.

How many kills: $TIGHTBOUND_KILLS (200); with which seed: $TIGHTBOUND_SEED (0).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS, SEED = (os.environ.get(name, usual) for name, usual in (("TIGHTBOUND_KILLS", "200"), ("TIGHTBOUND_SEED", "0")))


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_killed_at_any_moment(tmp_path):
    ours = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    ours["TIGHTBOUND_CACHE"] = str(tmp_path / "cache")
    script = Path(__file__).with_name("kills.py")
    place = tmp_path / "place"
    place.mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(place), KILLS, SEED], stdout=subprocess.PIPE, text=True, env=ours, check=False
    )
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["kills"] == int(KILLS) and found["faults"] == [], "\n".join(found["faults"])
