"""The scikit-learn face: arrays or data frames in, arrays or data frames out."""

import math
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from tightbound.data import Table, as_table
from tightbound.estimator.arguments import check_draws, seed_of
from tightbound.estimator.checking import check_number, check_settings
from tightbound.estimator.config import Plan
from tightbound.estimator.evaluate import CHECKS, evaluate
from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.fit import check_factories, fit_table, prepare_compiler
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.folder import save_model
from tightbound.estimator.methods import AnswersMixin
from tightbound.estimator.progress import FitProgress
from tightbound.estimator.resume import checkpointing_at
from tightbound.estimator.settings import DEFAULTS
from tightbound.evidence import Evidence

_NOT_SETTINGS = ("encoder_network", "decoder_network", "checkpoint")


@final
class VAE(AnswersMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A variational autoencoder: p(x) = integral of p(z) p(x | z), with q(z | x) learnt beside it.

    Maximises a lower bound on log p(x) (Kingma and Welling, 2014). All log densities are in nats a row, as densities in
    the units of the data given to `fit`; missing cells (NaN or null) are integrated out.

    Args:
        latent_dim: dimension of z (None: half the columns, at least 2, at most 50).
        likelihood: "auto" (each column by its kind in a table with texts, categories or dates, with a condition or an
            exposure, and in a sparse one of counts; Bernoulli for 0/1 data; else Gaussian), "gaussian", "bernoulli",
            "columns" (by its kind), or of bags of words given their length "multinomial", "dirichlet_multinomial".
        condition: columns (names or numbers) that are given and not modelled: p(x | z, c), q(z | x, c) and all
            log p(x | c). Samples take c from the training rows, or from `given`.
        exposure: column that multiplies the means of all counts (a library size), or "total": the sum of a row's
            counts. It is given, not modelled.
        continuous: family of continuous columns, with "columns": "normal_scores" (Gaussian on the scale of the
            column's ranks), "gaussian", "student_t", "gaussian_mixture" or "logistic_mixture".
        counts: family of count columns, with "columns": "auto", "poisson", "negative_binomial",
            "zero_inflated_poisson", "zero_inflated_negative_binomial", "hurdle_poisson" or "hurdle_negative_binomial".
        spread: whether scale, dispersion and shape of continuous and count columns, with "columns", follow from z
            ("latent") or are one a column ("column"), which leaves more for z to explain.
        binarize: binarise 8-bit intensities anew each time a row is drawn; for scoring they are binarised once.
        covariance: of x given z: "shared", "feature" (learned, the same for all z), "diagonal", "low_rank", "full"
            (from z).
        rank: of the low-rank covariance.
        scaling: "standard" (columns are standardised inside the model) or "none".
        prior: "auto" (standard Gaussian, or the learned one of discrete latents), "standard", "mixture", "vamp"
            (Tomczak and Welling, 2018), the flows "maf", "coupling" and "spline", "bernoulli", "categorical".
        posterior: family of q: "diagonal" or "full" Gaussian, "mixture", the flows "planar", "iaf", "coupling" and
            "spline", "bernoulli", "categorical".
        n_components: of mixtures (None: 10; for "vamp" the number of pseudo-inputs, 100).
        n_levels: of each categorical latent.
        flow_layers: of flows in prior or posterior.
        second_stage: "mixture", "maf", "coupling" or "spline": a density fitted to the aggregated posterior after
            training, which becomes the prior ("none": not).
        inference: how q is found: "amortised" (one network), "per_datum" (an inner loop for every row),
            "semi_amortised" (a network, then an inner loop), "aggressive" (a network that takes several steps for each
            of the decoder's) or "exact" (linear-Gaussian models, few discrete states).
        inner_steps: of the inner loop (None: 20, semi-amortised 10); inner_rate: its rate.
        through: semi-amortised: the encoder's gradient goes through the inner steps.
        encoder_steps: aggressive: steps on q for each on p.
        network: "residual", "mlp" or "linear".
        encoder: "masking" (zeros where cells are missing, beside the mask) or "set" (a sum over the observed cells: Ma
            et al., 2019).
        hidden_sizes: widths of the hidden layers (None: 300, 300, 300; 128, 128 below 100 columns).
        activation: "silu", "relu", "elu", "gelu", "tanh" or "softplus".
        objective: the bounds "elbo", "iwae" (Burda et al., 2016), "miwae", "piwae", "ciwae" (Rainforth et al., 2018),
            "renyi" (Li and Turner, 2016), "rws" (Bornschein and Bengio, 2015); or the ELBO with something in place of
            its KL: "capacity", "free_bits", "beta_tc", "mmd". What is reported is always a plain bound.
        gradient: "auto", "pathwise", "stl", "dreg", "resampled", "reinforce", "moving_average", "leave_one_out",
            "learned_baseline", "vimco", "disarm", "gumbel", "gumbel_st", "enumerate" or "wake".
        n_samples: draws of z a row and step (None: 1 for the ELBO, 50 for the importance-weighted bound).
        n_groups: of draws, for "miwae" and "piwae".
        alpha: order of "renyi" (None: 0.5), share of the ELBO in "ciwae" (0.05), of the information in "mmd" (0).
        beta: weight of the KL (None: 1), or of the objective's own term ("beta_tc" 6, "capacity" 100, "mmd" 10).
        capacity: nats that "capacity" draws the KL to.
        free_bits: nats of each group of `free_bits_group` latents that cost nothing (0: all in one group).
        temperature: of "gumbel" and "gumbel_st".
        kl_schedule: "linear", "cosine" or "cyclical".
        kl_warmup_steps: steps over which the weight of the KL rises from 0 to `beta`.
        epochs: most passes over the data (None: about 10,000 steps, within 50 to 1,000 epochs; half of
            both for "columns" by the ELBO).
        batch_size: most rows a step.
        learning_rate: peak of Adam's warm-up + cosine schedule (None: 0.0015; 0.006 for "columns" by the ELBO).
        weight_decay: pull of weight matrices towards zero, in learning rates (0: none).
        smoothing: standard deviation of Gaussian noise on continuous columns each time a row is drawn while learning,
            in theirs: p(x) becomes as smooth as a kernel of that width makes it (Rothfuss et al., 2019).
        missingness: "random", or whether a value decides on its being missing: "self_masking" (in a direction that is
            learnt), "self_masking_high", "self_masking_low"; `score_samples` is then log p(observed cells, mask).
        hide_cells: share of rows of which further cells are hidden at random each time they are drawn, so that q can
            condition on any subset of columns (None: 0.5 for "columns", else 0).
        validation_fraction: share of rows held out for early stopping (None: a tenth, at most 2,000 rows; 0: none).
        patience: epochs without a better validation bound before stopping (None: a quarter of `epochs`, at least 20;
            0: never stop early).
        n_importance_samples: draws of z a row to begin with in `score_samples`, `score` and `evidence`.
        scoring_method, tolerance: how log p(x) is found, and the standard error to work for, nats a row: "auto"
            ("exact" where that is cheap, else "adaptive": as much work as each row needs), or one of these two,
            "importance", "defensive", "refined" and "annealed" alone; see `evidence.log_evidence`.
        dtype: "float32" or "float64", of all computations.
        random_state: seed or RandomState; the same seed on the same machine gives the same bits.
        verbose: 0 is silent, 1 shows progress.
        encoder_network, decoder_network: functions f(in_size, out_size, *, key) that return a callable from one vector
            to one vector (an equinox module, say), in place of the default networks.
        checkpoint: a file that keeps the state of a running fit, for `fit(X, resume=True)`.

    Attributes:
        model_: the generative model p (a `tightbound.model.GenerativeModel`).
        inference_: q, a callable from p and a row to the row's distribution over z.
        history_: dict of arrays "epoch", "train_bound", "validation_bound", "train_objective" (nats a row, user's
            units; the last is what was maximised, which a weight on the KL makes another number than the bound).
        n_iter_: epochs run; best_epoch_: the epoch whose parameters were kept.
        messages_: what a person should know about data and fit.
        n_features_in_, feature_names_in_: the columns.

    Example:
        >>> import numpy as np
        >>> from tightbound import VAE
        >>> X = np.random.default_rng(0).normal(size=(200, 3)) * [1, 10, 100]
        >>> vae = VAE(latent_dim=1, epochs=5, random_state=0).fit(X)
        >>> vae.score_samples(X[:4]).shape
        (4,)
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        *,
        likelihood: str = "auto",
        condition: Any = None,
        exposure: str | int | None = None,
        continuous: str = "normal_scores",
        counts: str = "auto",
        spread: str = "latent",
        binarize: bool = False,
        covariance: str = "feature",
        rank: int = 5,
        scaling: str = "standard",
        prior: str = "auto",
        posterior: str = "diagonal",
        n_components: int | None = None,
        n_levels: int = 10,
        flow_layers: int = 2,
        second_stage: str = "none",
        inference: str = "amortised",
        inner_steps: int | None = None,
        inner_rate: float = 0.3,
        through: bool = False,
        encoder_steps: int = 10,
        network: str = "residual",
        encoder: str = "masking",
        hidden_sizes: tuple[int, ...] | None = None,
        activation: str = "silu",
        objective: str = "elbo",
        gradient: str = "auto",
        n_samples: int | None = None,
        n_groups: int = 8,
        alpha: float | None = None,
        beta: float | None = None,
        capacity: float = 25.0,
        free_bits: float = 0.5,
        free_bits_group: int = 1,
        temperature: float = 0.5,
        kl_schedule: str = "linear",
        kl_warmup_steps: int = 0,
        epochs: int | None = None,
        batch_size: int = 100,
        learning_rate: float | None = None,
        weight_decay: float = 0.0,
        smoothing: float = 0.0,
        missingness: str = "random",
        hide_cells: float | None = None,
        validation_fraction: float | None = None,
        patience: int | None = None,
        n_importance_samples: int = 1000,
        scoring_method: str = "auto",
        tolerance: float = 0.1,
        dtype: str = "float32",
        random_state: Any = None,
        verbose: int = 0,
        encoder_network: Callable[..., Any] | None = None,
        decoder_network: Callable[..., Any] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ):
        self.latent_dim, self.likelihood, self.binarize, self.covariance = latent_dim, likelihood, binarize, covariance
        self.continuous, self.hide_cells, self.missingness = continuous, hide_cells, missingness
        self.condition, self.exposure, self.counts = condition, exposure, counts
        self.encoder, self.weight_decay, self.spread = encoder, weight_decay, spread
        self.rank, self.smoothing, self.scaling, self.prior = rank, smoothing, scaling, prior
        self.posterior, self.n_components, self.n_levels = posterior, n_components, n_levels
        self.flow_layers, self.second_stage = flow_layers, second_stage
        self.inference, self.inner_steps = inference, inner_steps
        self.inner_rate, self.through, self.encoder_steps, self.network = inner_rate, through, encoder_steps, network
        self.hidden_sizes, self.activation, self.objective = hidden_sizes, activation, objective
        self.gradient, self.n_samples, self.n_groups, self.alpha, self.beta = gradient, n_samples, n_groups, alpha, beta
        self.capacity, self.free_bits, self.free_bits_group = capacity, free_bits, free_bits_group
        self.temperature, self.kl_schedule, self.kl_warmup_steps = temperature, kl_schedule, kl_warmup_steps
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.validation_fraction, self.patience = validation_fraction, patience
        self.n_importance_samples, self.scoring_method = n_importance_samples, scoring_method
        self.tolerance, self.dtype, self.random_state = tolerance, dtype, random_state
        self.verbose, self.encoder_network, self.decoder_network = verbose, encoder_network, decoder_network
        self.checkpoint = checkpoint

    def fit(self, X: Any, y: Any = None, *, validation: Any = None, resume: bool = False) -> Self:
        """Fit to rows `X` (n, d): an array, a pandas or polars frame, or a sparse matrix. `y` is ignored.

        Args:
            X: the data; images may come as (n, h, w) or (n, h, w, 3).
            y: ignored.
            validation: rows to stop early on, in place of a share of `X`.
            resume: go on from `checkpoint`, to the same bits as a fit that was never interrupted.

        Raises `ValueError` with one sentence for data or parameters that cannot be used.
        """
        settings = {name: getattr(self, name) for name in DEFAULTS if name != "random_state"}
        check_settings(settings)
        check_factories(self.encoder_network, self.decoder_network)
        table = as_table(X)
        given = None if validation is None else as_table(validation, source="validation", schema=table.coded)
        return self.fit_table(table, given, resume=resume)

    def fit_table(self, table: Table, validation: Table | None = None, *, resume: bool = False) -> Self:
        """Fit to a table that `tightbound.data` has read; see `fit`."""
        settings = {name: getattr(self, name) for name in DEFAULTS if name != "random_state"}
        check_settings(settings)
        check_factories(self.encoder_network, self.decoder_network)
        with FitProgress(bool(self.verbose)) as progress:

            def announce(plan: Plan, messages: tuple[str, ...]) -> None:
                for message in messages:
                    progress.message(message)

            model = fit_table(
                table,
                settings,
                seed=seed_of(self.random_state, self.checkpoint is not None),
                validation=validation,
                encoder_network=self.encoder_network,
                decoder_network=self.decoder_network,
                checkpointing=checkpointing_at(self.checkpoint, resume),
                on_plan=announce,
                on_epoch=progress.epoch,
            )
        for message in model.summary.messages[1:]:  # the first one says which likelihood was chosen
            warnings.warn(message, UserWarning, stacklevel=2)
        return self._adopt(model)

    def _adopt(self, model: FittedModel) -> Self:
        self.fitted_ = model
        self.model_ = model.pair.p
        self.inference_ = model.pair.q
        history = model.summary.history
        self.history_ = {
            name: np.array([getattr(record, name) for record in history])
            for name in ("epoch", "train_bound", "validation_bound", "train_objective")
        }
        self.n_iter_ = len(history)
        self.best_epoch_ = model.summary.best_epoch
        self.messages_ = model.summary.messages
        encoding = model.encoding
        self.n_features_in_ = len(encoding.names)
        if encoding.named:
            self.feature_names_in_ = np.array(encoding.names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self._n_features_out = model.specification.z_size
        return self

    def _table(self, X: Any) -> Table:
        encoding = self._fitted().encoding
        table = as_table(X, known=encoding.aside, schema=encoding.schema)
        return encoding.check(table, expected_by="VAE")

    def _fitted(self) -> FittedModel:
        check_is_fitted(self)
        return self.fitted_

    def transform(self, X: Any) -> NDArray[Any]:
        """Posterior means E_q[z | x], (n, latent_dim); of categorical latents the probability of each level."""
        return self._fitted().latents(self._table(X)).mean

    def inverse_transform(self, Z: Any) -> Any:
        """Decoder means E[x | z] for latents as `transform` gives them, in the units and columns of the data fitted."""
        check_is_fitted(self)
        z = as_table(Z, source="Z").values
        if z.shape[1] != self._n_features_out:
            raise ValueError(
                f"Z must have {self._n_features_out} columns, one for each latent dimension; it has {z.shape[1]}; "
                "give what transform returns."
            )
        if not np.isfinite(z).all():
            raise ValueError("Z must hold finite numbers; it has NaN or infinity; give what transform returns.")
        return self._give_back(self.fitted_.decode(z))

    def reconstruct(self, X: Any) -> Any:
        """E[x | z] at the posterior mean z of every row, in the data's units and columns; missing cells are filled."""
        table = self._table(X)
        return self._give_back(self.fitted_.reconstruct(table), index=table.index)

    def sample_posterior(self, X: Any, n: int = 1, random_state: Any = None) -> NDArray[Any]:
        """n draws of z from q(z | x) of every row, (rows, n, latent_dim)."""
        check_draws(n)
        return self._fitted().sample_posterior(self._table(X), int(n), seed_of(random_state))

    def evidence(self, X: Any, n_samples: int | None = None, **options: Any) -> Evidence:
        """ELBO and log p(x) of every row with standard error, reliability, method and work.

        Args:
            X: rows.
            n_samples: importance samples a row (None: `n_importance_samples`).
            options: further arguments of `tightbound.evidence.log_evidence`: method and tolerance (by default the
                estimator's), time_limit (seconds), n_steps, n_chains and resample of annealing.

        Returns an `Evidence`: nats a row, densities in the user's units.
        """
        n_samples = self.n_importance_samples if n_samples is None else n_samples
        check_number("n_samples", n_samples, 1, math.inf, "1000 is usual")
        table = self._table(X)
        prepare_compiler()
        options = {"method": self.scoring_method, "tolerance": self.tolerance, **options}
        return self.fitted_.evidence(table, int(n_samples), **options)

    def evaluate(self, X: Any, train: Any = None, *, checks: Sequence[str] = CHECKS) -> Evaluation:
        """How good the model is on rows `X` that it was not fitted to, and how far to trust that.

        log p(x) with its errors, the gap log p(x) - ELBO in its parts, log p(x) from both sides, the health of the fit,
        and simple models beside it; each is a field of what is returned, with a readable `repr`.

        Args:
            X: rows, held out if possible.
            train: the rows it was fitted to: for simple models, copies among samples, an overfitted encoder.
            checks: which of "gap", "bracket", "health" and "baselines" to make.

        Example: `vae.evaluate(X_test, X_train).verdicts`.
        """
        table = self._table(X)
        return evaluate(
            self.fitted_,
            table,
            n_samples=int(self.n_importance_samples),
            train=None if train is None else self._table(train),
            checks=checks,
            method=self.scoring_method,
            tolerance=self.tolerance,
            patience=None,
        )

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """log p(x) of every row's observed cells, (n,) nats, by `scoring_method`."""
        return self.evidence(X).log_evidence

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`: nats a row, higher is better; for model selection."""
        return float(np.mean(self.score_samples(X)))

    def refined(self, steps: int = 100, *, posterior: str | None = None, start: str = "encoder") -> Self:
        """The same model with a q that an inner loop of `steps` ascents refines for every row it is asked about.

        `transform`, `evidence`, `score_samples`, `sample_posterior` and `reconstruct` of what is returned use that q;
        p, and so `sample`, is the same. (Kim et al., 2018; Cremer, Li and Duvenaud, 2018.)

        Args:
            steps: of the inner loop.
            posterior: family of the refined q ("diagonal", "full", "mixture", "planar"; None: the model's own).
            start: "encoder" or "prior".

        Raises `ValueError` where q is exact already, or for a family that cannot be refined.

        Example: `vae.refined(200, posterior="full").score_samples(X)`.
        """
        check_number("steps", steps, 1, math.inf, "100 is usual")
        if start not in ("encoder", "prior"):
            raise ValueError(f"start must be encoder or prior; got {start!r}; choose one of those.")
        model = self._fitted().refined(int(steps), posterior, start)
        return clone(self)._adopt(model)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save the fitted model as a folder (model.json and weights.safetensors); see `tightbound.load`."""
        check_is_fitted(self)
        save_model(path, self.fitted_, overwrite=overwrite)

    def _give_back(self, values: NDArray[Any], *, index: Any = None, rounded: bool = False) -> Any:
        return self.fitted_.encoding.give_back(values, index=index, rounded=rounded)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        tags.non_deterministic = False
        return tags
