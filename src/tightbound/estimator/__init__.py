"""The scikit-learn faces: arrays or data frames in, arrays or data frames out."""

from tightbound.estimator.detector import VAEOutlierDetector
from tightbound.estimator.imputer import VAEImputer
from tightbound.estimator.loading import load
from tightbound.estimator.vae import VAE

__all__ = ["VAE", "VAEImputer", "VAEOutlierDetector", "load"]
