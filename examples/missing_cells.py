"""A table with holes: log p of the observed cells, and what the model puts into the others.

python examples/missing_cells.py
"""

import numpy as np
from sklearn.datasets import load_wine

from tightbound import VAE

wine = load_wine(as_frame=True).data
rng = np.random.default_rng(0)
holes = wine.mask(rng.random(wine.shape) < 0.2)  # a fifth of the cells is taken away

vae = VAE(latent_dim=3, likelihood="gaussian(covariance=diagonal)", epochs=400, random_state=0).fit(holes)
print(vae.evidence(holes))

filled = vae.reconstruct(holes)
away = holes.isna().to_numpy()
error = ((filled - wine) / wine.std()).to_numpy()[away]
print(f"Root mean square error on the removed cells: {np.sqrt(np.mean(error**2)):.2f} column standard deviations")
