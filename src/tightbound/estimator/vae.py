"""The scikit-learn face: arrays or data frames in, arrays or data frames out."""

import contextlib
import os
import warnings
from collections.abc import Sequence
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from tightbound.data import Table, as_table
from tightbound.data.errors import UnseenLevelError
from tightbound.estimator.arguments import check_draws, seed_of
from tightbound.estimator.config import Config
from tightbound.estimator.evaluate import CHECKS, evaluate
from tightbound.estimator.evaluation import Evaluation
from tightbound.estimator.fit import fit_table
from tightbound.estimator.fitted import FittedModel
from tightbound.estimator.folder import save_model
from tightbound.estimator.judges import with_reference
from tightbound.estimator.methods import AnswersMixin
from tightbound.estimator.progress import WorkProgress
from tightbound.estimator.resume import checkpointing_at
from tightbound.estimator.settings import Settings
from tightbound.evidence import Evidence
from tightbound.model.axes import AXES, as_member
from tightbound.model.axes.parameters import MOST, MOST_STEPS, check_number
from tightbound.model.compiling import require_own_threads


@final
class VAE(AnswersMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A variational autoencoder: p(x) = integral of p(z) p(x | z), with q(z | x) learnt beside it.

    Maximises a lower bound on log p(x) (Kingma and Welling, 2014). All log densities are in nats a row, as densities in
    the units of the data given to `fit`; missing cells (NaN or null) are integrated out.

    Args:
        latent_dim: dimension of z (None: half the columns, at least 2, at most 50).
        likelihood: p(x | z): "auto" (each column by its kind in a table with texts, categories or dates, with a
            condition or an exposure, and in a sparse one of counts; Bernoulli for 0/1 data; else Gaussian), "gaussian",
            "bernoulli", "columns" (by its kind), or of bags of words given their length "multinomial",
            "dirichlet_multinomial".
        condition: columns (names or numbers) that are given and not modelled: p(x | z, c), q(z | x, c) and all
            log p(x | c). Samples take c from the training rows, or from `given`.
        exposure: column that multiplies the means of all counts (a library size), or "total": the sum of a row's
            counts. It is given, not modelled.
        scaling: "standard" (columns are standardised inside the model) or "none".
        prior: p(z): "auto" (standard Gaussian, or the learned one of discrete latents), "standard", "mixture", "vamp"
            (Tomczak and Welling, 2018), the flows "maf", "coupling" and "spline", "bernoulli", "categorical".
        posterior: family of q: "diagonal" or "full" Gaussian, "mixture", the flows "planar", "iaf", "coupling" and
            "spline", "bernoulli", "categorical".
        second_stage: "mixture", "maf", "coupling" or "spline": a density fitted to the aggregated posterior after
            training, which becomes the prior ("none": not).
        inference: how q is found: "amortised" (one network), "per_datum" (an inner loop for every row),
            "semi_amortised" (a network, then an inner loop), "aggressive" (a network that takes several steps for each
            of the decoder's) or "exact" (linear-Gaussian models, few discrete states).
        network: "residual", "mlp" or "linear", or "custom": networks of your own.
        encoder: "masking" (zeros where cells are missing, beside the mask) or "set" (a sum over the observed cells: Ma
            et al., 2019).
        objective: the bounds "elbo", "iwae" (Burda et al., 2016), "miwae", "piwae", "ciwae" (Rainforth et al., 2018),
            "renyi" (Li and Turner, 2016), "rws" (Bornschein and Bengio, 2015); or the ELBO with something in place of
            its KL: "capacity", "free_bits", "beta_tc", "mmd". What is reported is always a plain bound.
        gradient: "auto", "pathwise", "stl", "dreg", "resampled", "reinforce", "moving_average", "leave_one_out",
            "learned_baseline", "vimco", "disarm", "gumbel", "gumbel_st", "enumerate" or "wake".
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
        checkpoint: a file that keeps the state of a running fit, for `fit(X, resume=True)`.

    The words name members of axes, each of which has parameters of its own: `prior="mixture"` is
    `prior=priors.Mixture()`, and `prior=priors.Mixture(n_components=20)` or `prior="mixture(n_components=20)"` is
    another one (`from tightbound import priors`; likewise likelihoods, posteriors, inference, networks, objectives,
    gradients; `tightbound axes` lists them all). They can be searched: `{"prior__n_components": [5, 20]}`. In their
    place may stand a function f(latent_dim, *, key) that returns a distribution (prior) or a family (posterior), a
    function f(in_size, out_size, *, key) that returns a network, or an objective or a gradient of `tightbound.learn`.

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
        likelihood: Any = "auto",
        condition: Any = None,
        exposure: str | int | None = None,
        scaling: str = "standard",
        prior: Any = "auto",
        posterior: Any = "diagonal",
        second_stage: Any = "none",
        inference: Any = "amortised",
        network: Any = "residual",
        encoder: str = "masking",
        objective: Any = "elbo",
        gradient: Any = "auto",
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
        checkpoint: str | os.PathLike[str] | None = None,
    ):
        self.latent_dim, self.likelihood, self.condition, self.exposure = latent_dim, likelihood, condition, exposure
        self.scaling, self.prior, self.posterior, self.second_stage = scaling, prior, posterior, second_stage
        self.inference, self.network, self.encoder = inference, network, encoder
        self.objective, self.gradient, self.epochs, self.batch_size = objective, gradient, epochs, batch_size
        self.learning_rate, self.weight_decay, self.smoothing = learning_rate, weight_decay, smoothing
        self.missingness, self.hide_cells = missingness, hide_cells
        self.validation_fraction, self.patience = validation_fraction, patience
        self.n_importance_samples, self.scoring_method = n_importance_samples, scoring_method
        self.tolerance, self.dtype, self.random_state = tolerance, dtype, random_state
        self.verbose, self.checkpoint = verbose, checkpoint

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters; with `deep` those of the members too, as `prior__n_components`."""
        params: dict[str, Any] = super().get_params(deep=False)
        if not deep:
            return params
        for axis in AXES:
            with contextlib.suppress(ValueError):  # no member, which `fit` refuses
                own = as_member(axis, params[axis]).get_params()
                params.update({f"{axis}__{name}": value for name, value in own.items()})
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters; `prior__n_components=20` sets one of a member, be it given as a word or as itself."""
        nested = {name: value for name, value in params.items() if name.partition("__")[0] in AXES and "__" in name}
        super().set_params(**{name: value for name, value in params.items() if name not in nested})
        for name, value in nested.items():
            axis, _, own = name.partition("__")
            setattr(self, axis, as_member(axis, getattr(self, axis)).set_params(**{own: value}))
        return self

    def fit(self, X: Any, y: Any = None, *, validation: Any = None, resume: bool = False) -> Self:
        """Fit to rows `X` (n, d): an array, a pandas or polars frame, or a sparse matrix. `y` is ignored.

        Args:
            X: the data; images may come as (n, h, w) or (n, h, w, 3).
            y: ignored.
            validation: rows to stop early on, in place of a share of `X`.
            resume: go on from `checkpoint`, to the same bits as a fit that was never interrupted.

        Raises `ValueError` with one sentence for data or parameters that cannot be used.
        """
        require_own_threads()
        settings, table = Settings.of(self), as_table(X)
        given = None if validation is None else as_table(validation, source="validation", schema=table.coded)
        return self._fit(table, settings, given, resume)

    def fit_table(self, table: Table, validation: Table | None = None, *, resume: bool = False) -> Self:
        """Fit to a table that `tightbound.data` has read; see `fit`."""
        return self._fit(table, Settings.of(self), validation, resume)

    def _fit(self, table: Table, settings: Settings, validation: Table | None, resume: bool) -> Self:
        held_out = validation
        with WorkProgress(bool(self.verbose)) as progress:

            def announce(config: Config, messages: tuple[str, ...]) -> None:
                nonlocal held_out
                if held_out is None and len(config.validation):
                    held_out = table.take(config.validation)
                for message in messages:
                    progress.message(message)

            model = fit_table(
                table,
                settings,
                seed=seed_of(self.random_state, self.checkpoint is not None),
                validation=validation,
                checkpointing=checkpointing_at(self.checkpoint, resume),
                on_config=announce,
                on_epoch=progress.epoch,
            )
        for message in model.summary.messages[1:]:  # the first one says which likelihood was chosen
            warnings.warn(message, UserWarning, stacklevel=3)
        return self._adopt(model, held_out)

    def _adopt(self, model: FittedModel, held_out: Table | None = None) -> Self:
        self.fitted_, self._held_out = model, held_out
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

    def _with_reference(self) -> FittedModel:
        """The model with the scores of the rows held out, which are found when they are first needed."""
        if self._held_out is not None:
            self.fitted_, self._held_out = with_reference(self._fitted(), self._held_out), None
        return self._fitted()

    def _table(self, X: Any) -> Table:
        encoding = self._fitted().encoding
        try:
            table = as_table(X, known=encoding.aside, schema=encoding.schema)
        except UnseenLevelError as error:
            raise error.advised("correct it, or make it missing (None)") from None
        return encoding.check(table, expected_by="VAE")

    def _fitted(self) -> FittedModel:
        require_own_threads()
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
        return self.fitted_.encoding.give_back(self.fitted_.decode(z))

    def reconstruct(self, X: Any) -> Any:
        """E[x | z] at the posterior mean z of every row, in the data's units and columns; missing cells are filled."""
        table = self._table(X)
        return self.fitted_.encoding.give_back(self.fitted_.reconstruct(table), like=table)

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
        check_number("n_samples", n_samples, 1, MOST, "1000 is usual")
        table = self._table(X)
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
        check_number("steps", steps, 1, MOST_STEPS, "100 is usual")
        if start not in ("encoder", "prior"):
            raise ValueError(f"start must be encoder or prior; got {start!r}; choose one of those.")
        model = self._fitted().refined(int(steps), posterior, start)
        return clone(self)._adopt(model, self._held_out)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save the fitted model as a folder (model.json and weights.safetensors); see `tightbound.load`."""
        check_is_fitted(self)
        save_model(path, self._with_reference(), overwrite=overwrite)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        tags.non_deterministic = False
        return tags
