"""Fit the embedded digits, look at the bound, the samples and the latent space, and save the pictures.

python examples/digits.py docs/pictures
"""

import sys
from pathlib import Path

from tightbound.data import read_table
from tightbound.estimator.fit import fit_table
from tightbound.report import FIGURES
from tightbound.report.overview import overview

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)

digits = read_table("digits")
model = fit_table(digits, {"latent_dim": 10, "epochs": 300, "binarize": True}, seed=0)
shown = overview(model, digits, n_samples=500)
print(shown.evidence)

content = shown.content("digits")
for name in ("learning_curves", "reconstructions", "latent_space", "log_evidence"):
    FIGURES[name](content).savefig(folder / f"digits_{name}.png", dpi=110)
