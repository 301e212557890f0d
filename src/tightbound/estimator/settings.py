"""The choices a fit can be given: name, type, default and one sentence each. The one home of these facts.

Light on purpose: the command line builds its options from this table without importing JAX.
"""

import dataclasses
import math
from typing import Any, final


@final
@dataclasses.dataclass(frozen=True)
class Setting:
    """One choice: its name in Python (and, with dashes, on the command line), default, meaning, and what it may be."""

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    group: str = "Model"
    least: float | None = None
    """The smallest number it may be; None where a number has no bounds, or where it is none."""
    most: float = math.inf
    usual: str = ""
    """What to do when it is something else."""


LARGEST_SEED = 2**32 - 1

GRADIENTS = (
    *("auto", "pathwise", "stl", "dreg", "resampled", "reinforce", "moving_average", "leave_one_out"),
    *("learned_baseline", "vimco", "disarm", "gumbel", "gumbel_st", "enumerate", "wake"),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "latent_dim",
        int,
        None,
        "Dimension of z (default: half the columns, at least 2, at most 50).",
        least=1,
        usual="2 to 50 is usual",
    ),
    Setting(
        "likelihood",
        str,
        "auto",
        "Distribution of the data given z; auto: each column by its kind in a table with texts, categories or dates "
        "(or a schema, a condition, an exposure) and in a sparse one of counts, Bernoulli for 0/1 data, else Gaussian; "
        "the multinomials are of bags of words, given their length.",
        ("auto", "gaussian", "bernoulli", "columns", "multinomial", "dirichlet_multinomial"),
    ),
    Setting(
        "condition",
        list,
        None,
        "Column that p(x | z, c) is given and does not model (repeat for more): a batch, a treatment.",
    ),
    Setting(
        "exposure",
        str,
        None,
        "Column that multiplies the means of all counts (a library size, an area), or 'total' for the sum of a row's "
        "counts; it is given, not modelled.",
    ),
    Setting(
        "continuous",
        str,
        "normal_scores",
        "Family of continuous columns in a mixed table; the schema can name one for each column.",
        ("normal_scores", "gaussian", "student_t", "gaussian_mixture", "logistic_mixture"),
    ),
    Setting(
        "counts",
        str,
        "auto",
        "Family of counts in a mixed table; auto: by their mean and variance, negative_binomial under an exposure.",
        (
            *("auto", "poisson", "negative_binomial", "zero_inflated_poisson", "zero_inflated_negative_binomial"),
            *("hurdle_poisson", "hurdle_negative_binomial"),
        ),
    ),
    Setting(
        "spread",
        str,
        "latent",
        "Whether scale, dispersion and shape of continuous and count columns follow from z or are one a column.",
        ("latent", "column"),
    ),
    Setting("binarize", bool, False, "Binarise 8-bit intensities anew each time a row is drawn (Bernoulli)."),
    Setting(
        "covariance",
        str,
        "feature",
        "Covariance of x given z: one learned scale, one a feature, or scales / low-rank / full from z.",
        ("shared", "feature", "diagonal", "low_rank", "full"),
    ),
    Setting("rank", int, 5, "Rank of the low-rank covariance.", least=1, usual="5 is usual"),
    Setting(
        *("smoothing", float, 0.0, "Noise on continuous columns while learning, in their standard deviations."),
        group="Learning",
        least=0,
        most=10,
        usual="0 to 1 is usual",
    ),
    Setting(
        "scaling",
        str,
        "standard",
        "Standardise columns inside the model, or not; densities are in your units either way.",
        ("standard", "none"),
    ),
    Setting(
        "prior",
        str,
        "auto",
        "p(z); auto: standard Gaussian, or the learned one that goes with discrete latents; maf, coupling and spline "
        "are flows.",
        ("auto", "standard", "mixture", "vamp", "maf", "coupling", "spline", "bernoulli", "categorical"),
    ),
    Setting(
        "posterior",
        str,
        "diagonal",
        "Family of q(z given x): Gaussians, flows (planar, iaf, coupling, spline), or discrete latents.",
        ("diagonal", "full", "mixture", "planar", "iaf", "coupling", "spline", "bernoulli", "categorical"),
    ),
    Setting(
        "n_components",
        int,
        None,
        "Components of a mixture (default: 10), or pseudo-inputs of a VampPrior (default: 100).",
        least=1,
        usual="10 is usual",
    ),
    Setting("n_levels", int, 10, "Levels of each categorical latent.", least=2, usual="10 is usual"),
    Setting("flow_layers", int, 2, "Layers of a flow, in prior or posterior.", least=1, usual="2 is usual"),
    Setting(
        "second_stage",
        str,
        "none",
        "Density fitted to the aggregated posterior after training, which becomes the prior.",
        ("none", "mixture", "maf", "coupling", "spline"),
    ),
    Setting(
        "inference",
        str,
        "amortised",
        "How q is found: one network; an inner loop for every row; a network and an inner loop; a network with several "
        "steps for each of the decoder; or exactly.",
        ("amortised", "per_datum", "semi_amortised", "aggressive", "exact"),
        "Inference",
    ),
    Setting(
        "inner_steps",
        int,
        None,
        "Steps of the inner loop (default: 20 per_datum, 10 semi_amortised).",
        group="Inference",
        least=1,
        usual="10 to 100 is usual",
    ),
    Setting(
        "inner_rate",
        float,
        0.3,
        "Rate of the inner loop; 1 is a full natural-gradient step.",
        group="Inference",
        least=1e-6,
        most=10,
        usual="0.3 is usual",
    ),
    Setting("through", bool, False, "Semi-amortised: differentiate through the inner steps (slow).", group="Inference"),
    Setting(
        "encoder_steps",
        int,
        10,
        "Aggressive: steps on the encoder for each on the decoder, while that pays.",
        group="Inference",
        least=1,
        usual="10 is usual",
    ),
    Setting("network", str, "residual", "Networks of encoder and decoder.", ("residual", "mlp", "linear")),
    Setting(
        "encoder",
        str,
        "masking",
        "What the encoder does with a row: masking puts zeros where cells are missing, beside the mask; set adds up "
        "what a network makes of each observed cell.",
        ("masking", "set"),
    ),
    Setting(
        "hidden_sizes", tuple, None, "Widths of the hidden layers (default: 300,300,300; 128,128 below 100 columns)."
    ),
    Setting(
        "activation",
        str,
        "silu",
        "Nonlinearity of the networks.",
        ("elu", "gelu", "relu", "silu", "softplus", "tanh"),
    ),
    Setting(
        "objective",
        str,
        "elbo",
        "What is maximised: a bound (elbo, iwae, miwae, piwae, ciwae, renyi, rws), or the ELBO with something in place "
        "of its KL (capacity, free_bits, beta_tc, mmd).",
        ("elbo", "iwae", "miwae", "piwae", "ciwae", "renyi", "rws", "capacity", "free_bits", "beta_tc", "mmd"),
        "Learning",
    ),
    Setting(
        "gradient",
        str,
        "auto",
        "How its gradient is estimated; auto: pathwise, or disarm, leave_one_out, vimco, enumerate as fits discrete "
        "latents.",
        GRADIENTS,
        "Learning",
    ),
    Setting(
        "n_samples",
        int,
        None,
        "Draws of z a row and step (default: 1 for the ELBO, 2 with a score function, 50 for iwae, 8 a group).",
        group="Learning",
        least=1,
        usual="1 is usual for elbo, 50 for iwae",
    ),
    Setting("n_groups", int, 8, "Groups of draws in miwae and piwae.", group="Learning", least=1, usual="8 is usual"),
    Setting(
        "alpha",
        float,
        None,
        "Order of renyi (default 0.5), share of the ELBO in ciwae (0.05), of the mutual information in mmd (0).",
        group="Learning",
        least=0,
        most=100,
        usual="0.5 is usual for renyi",
    ),
    Setting(
        "beta",
        float,
        None,
        "Weight of the KL (default 1), of the total correlation (6), of capacity (100), of mmd (10).",
        group="Learning",
        least=0,
        most=1e6,
        usual="1 is the bound itself",
    ),
    Setting(
        "capacity",
        float,
        25.0,
        "Nats that the KL is drawn to, rising over half of the steps.",
        group="Learning",
        least=0,
        usual="25 is usual",
    ),
    Setting(
        "free_bits",
        float,
        0.5,
        "Nats of each group of latents that cost nothing.",
        group="Learning",
        least=0,
        usual="0.5 is usual",
    ),
    Setting(
        "free_bits_group",
        int,
        1,
        "Latents in a group; 0: all together.",
        group="Learning",
        least=0,
        usual="1 is usual",
    ),
    Setting(
        "temperature",
        float,
        0.5,
        "Of the relaxation in gumbel and gumbel_st.",
        group="Learning",
        least=1e-3,
        most=100,
        usual="0.5 is usual",
    ),
    Setting(
        "kl_schedule",
        str,
        "linear",
        "How the weight of the KL rises; cyclical: every kl_warmup_steps anew.",
        ("linear", "cosine", "cyclical"),
        "Learning",
    ),
    Setting(
        "kl_warmup_steps",
        int,
        0,
        "Steps over which the weight of the KL rises from 0 to beta.",
        group="Learning",
        least=0,
        usual="0 means none",
    ),
    Setting(
        "epochs",
        int,
        None,
        "Most passes over the data (default: about 10,000 steps, 50 to 1,000; half for an ELBO of mixed columns).",
        group="Learning",
        least=1,
        usual="25 to 1000 is usual",
    ),
    Setting("batch_size", int, 100, "Most rows a step.", group="Learning", least=1, usual="100 is usual"),
    Setting(
        "learning_rate",
        float,
        None,
        "Peak of the warm-up + cosine schedule of Adam (default: 0.0015; 0.006 for an ELBO of mixed columns).",
        group="Learning",
        least=1e-12,
        most=1e3,
        usual="0.0015 is usual",
    ),
    Setting(
        "weight_decay",
        float,
        0.0,
        "Pull of all weight matrices towards zero at each step, in learning rates; against overfitting of few rows.",
        group="Learning",
        least=0,
        most=100,
        usual="0 is usual, 0.1 to 10 for a few hundred rows of many columns",
    ),
    Setting(
        "missingness",
        str,
        "random",
        "Whether a value decides on its being missing; self_masking: yes, in a direction that is learnt; or high / low "
        "values are missing. log p(x) is then that of the observed cells and of which they are.",
        ("random", "self_masking", "self_masking_high", "self_masking_low"),
    ),
    Setting(
        "hide_cells",
        float,
        None,
        "Share of rows of which more cells are hidden at random each time, so that q can condition on any subset "
        "(default: 0.5 in mixed tables, else 0).",
        group="Learning",
        least=0,
        most=1,
        usual="0.5 is usual",
    ),
    Setting(
        "validation_fraction",
        float,
        None,
        "Share of rows held out for early stopping (default: a tenth, at most 2,000 rows; 0: none).",
        group="Learning",
        least=0,
        most=0.9,
        usual="0.1 is usual",
    ),
    Setting(
        "patience",
        int,
        None,
        "Epochs without a better bound before stopping (default: a quarter of the epochs, at least 20; 0: never).",
        group="Learning",
        least=0,
        usual="0 means never stop early",
    ),
    Setting("n_importance_samples", int, 1000, "Draws of z a row for log p.", (), "Scoring", 1, usual="1000 is usual"),
    Setting(
        "scoring_method",
        str,
        "auto",
        "How log p(x) is found; auto: exactly where that is cheap, else by as much work as each row needs.",
        ("auto", "adaptive", "importance", "defensive", "refined", "annealed", "exact"),
        "Scoring",
    ),
    Setting(
        *("tolerance", float, 0.1, "Standard error of log p(x) that auto works for, nats a row.", (), "Scoring", 1e-6),
        usual="0.1 is usual",
    ),
    Setting("dtype", str, "float32", "Precision of all computations.", ("float32", "float64"), "Learning"),
    Setting(
        "random_state",
        int,
        None,
        "Seed; the same seed on the same machine gives the same bits (default: 0).",
        group="Learning",
        least=0,
        most=LARGEST_SEED,
        usual="0 is usual",
    ),
    Setting("verbose", int, 0, "0: silent; 1: progress in the terminal.", group="Learning"),
)

DEFAULTS: dict[str, Any] = {setting.name: setting.default for setting in SETTINGS}
