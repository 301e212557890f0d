"""Fit the embedded digits, look at the bound, the samples and the latent space, and save the pictures.

python examples/digits.py docs/pictures
"""

import sys
from pathlib import Path

from tightbound.data import read_table
from tightbound.estimator.evaluate import evaluate
from tightbound.estimator.fit import fit_table
from tightbound.estimator.settings import Settings
from tightbound.report.sections import latent, learning, log_evidence, reconstructions

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)

digits = read_table("digits")
model = fit_table(digits, Settings(latent_dim=10, epochs=300, likelihood="bernoulli(binarize=True)"), seed=0)
found = evaluate(model, digits, n_samples=500, pictures=True)
print(found.evidence)

made = found.reproduction
pictures = {
    "learning_curves": learning.figure(found.training),
    "reconstructions": reconstructions.image_figure(made),
    "latent_space": latent.figure(found.latents, made.prior_samples, made.labels),
    "log_evidence": log_evidence.figure(found.evidence),
}
for name, figure in pictures.items():
    figure.savefig(folder / f"digits_{name}.png", dpi=110)
