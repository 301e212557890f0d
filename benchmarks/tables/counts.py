"""Counts: cells given their library size, and bags of words; log p(x) of held-out rows, and what the latents know.

    python benchmarks/tables/counts.py --seeds 0 1 2 --json counts.json

pbmc68k_700 (700 cells, 765 genes), 80/20 of the cells by seed: nats a held-out cell given its library size (1,000 draws
of importance sampling), and the adjusted Rand index of k-means with ten clusters on ten numbers a cell against the cell
types. Beside ours: one negative binomial a gene with the same exposure; factor analysis and principal components of
log(1 + count / exposure), for the index alone.

newsgroups20 (11,293 + 7,528 documents, 2,000 words): perplexity of the test part, exp of minus log p(words) over
tokens, with log p(words) of all tokens in their order (no multinomial coefficient), by importance sampling, so rather
too high than too low. Learnt from compressed sparse rows; the seed is that of the fit. Beside ours: the corpus's word
frequencies, and scikit-learn's latent Dirichlet allocation with its own bound.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse
from jaxtyping import Array, Float
from scipy.special import gammaln
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, FactorAnalysis, LatentDirichletAllocation
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import train_test_split

from common import OURS, Journal, LeftOutError, Record, attempt, data_folder, parser, show, start
from tightbound import learn
from tightbound.evidence import encode, importance_evidence
from tightbound.learn.sparse import sparse_rows
from tightbound.model import (
    MLP,
    Decoder,
    DiagonalGaussianFamily,
    Encoder,
    GenerativeModel,
    LearnedPrior,
    MultinomialHead,
    NegativeBinomialCells,
    StandardGaussian,
    columns_head,
    first_parameters,
    make_family,
)
from tightbound.model.conditioned import conditioned_decoder
from tightbound.model.features import count_inputs

CELLS, WORDS = "pbmc68k_700", "newsgroups20_bow2000"
PEERS = ("negative binomials", "factor analysis", "PCA", "unigram", "LDA")
DTYPE = "float32"
KMEANS_SEEDS = 5


def arrays(name: str) -> Any:
    """A file of counts."""
    path = data_folder().parent / "counts" / f"{name}.npz"
    if not path.exists():
        raise LeftOutError(f"{name}.npz is not in {path.parent}; set TIGHTBOUND_DATA to the folder with counts/")
    return np.load(path, allow_pickle=False)


def with_bias(network: MLP, bias: np.ndarray, shrink: float) -> MLP:
    """The network with smaller weights in its last layer, and this bias."""
    last = network.layers[-1]
    where: Callable[[MLP], Any] = lambda a: (a.layers[-1].weight, a.layers[-1].bias)  # noqa: E731
    return eqx.tree_at(where, network, (last.weight * shrink, jnp.asarray(bias, DTYPE)))


# --- Cells ----------------------------------------------------------------------------------------------------------


class OwnSpread(eqx.Module):
    """A network for the log means, and a log dispersion a gene that does not depend on z."""

    network: MLP
    spread: Float[Array, " d"]

    def __call__(self, z: Array) -> Array:
        """Both, behind each other."""
        return jnp.concatenate([self.network(z), self.spread])


@dataclass(frozen=True)
class Shrinking:
    """An optimiser that also pulls all matrices towards zero, by `decay` times its rate at each step.

    560 cells are few for 765 x 10 weights; and latents that say little shrink with theirs. A transformation is not told
    the parameters, so this one follows them by itself. Source: Loshchilov and Hutter (2019).
    """

    base: learn.Optimiser
    decay: float

    def rate(self, step: Any) -> Any:
        """That of the optimiser."""
        return self.base.rate(step)

    def transformation(self) -> optax.GradientTransformation:
        """Adam's update, and the pull."""
        adam = self.base.transformation()

        def init(parameters: Any) -> Any:
            return adam.init(parameters), parameters, jnp.zeros((), "int32")

        def update(gradient: Any, state: Any, parameters: Any = None) -> Any:
            inner, own, step = state
            changes, inner = adam.update(gradient, inner)
            changes = jax.tree.map(lambda u, w: u + self.decay * w if min(w.shape, default=1) > 1 else u, changes, own)
            rate = self.rate(step)
            own = jax.tree.map(lambda w, u: w - rate.astype(w.dtype) * u, own, changes)
            return changes, (inner, own, step + 1)

        return optax.GradientTransformation(init, update)


class Blood:
    """The cells of one split; a row is [counts, log exposure], the exposure relative to a typical training cell."""

    def __init__(self, seed: int):
        """Split by this seed."""
        found = arrays(CELLS)
        self.counts, self.types = found["counts"].astype(float), found["cell_type"]
        self.train, self.test = train_test_split(np.arange(len(self.counts)), test_size=0.2, random_state=seed)
        log_total = np.log(found["total_umi"].astype(float))
        self.log_exposure = log_total - log_total[self.train].mean()
        self.rows = np.column_stack([self.counts, self.log_exposure]).astype(DTYPE)
        self.features = np.log1p(self.counts / np.exp(self.log_exposure)[:, None])

    def index(self, numbers: np.ndarray) -> float:
        """Adjusted Rand index of k-means on these numbers, averaged over its starts."""
        found = (KMeans(10, n_init=10, random_state=s).fit_predict(numbers) for s in range(KMEANS_SEEDS))
        return float(np.mean([adjusted_rand_score(self.types, labels) for labels in found]))


def cells_pair(rows: np.ndarray, *, latent_dim: int, n_components: int, seed: int) -> learn.Pair:
    """log mean = log exposure + W z + b with a mixture prior; the encoder sees counts relative to their exposure."""
    keys = jax.random.split(jax.random.key(seed), 3)
    counts, log_exposure = rows[:, :-1], rows[:, -1:]
    d = counts.shape[1]
    head = columns_head([NegativeBinomialCells()] * d, counts / np.exp(log_exposure))
    network = MLP(latent_dim, d, (), dtype=DTYPE, key=keys[0])
    spread = jnp.clip(head.spread_at_start(key=keys[0]), -3, 3).astype(DTYPE)
    decoder = conditioned_decoder(
        OwnSpread(with_bias(network, np.asarray(head.location_at_start()), 0.1), spread),
        head,
        latent_dim,
        log_exposure,
        with_exposure=True,
    )
    family = DiagonalGaussianFamily(latent_dim)
    reader = MLP(d + 1, family.n_parameters, (64,), dtype=DTYPE, key=keys[1])
    reader = with_bias(reader, np.zeros(family.n_parameters), 0.3)
    encoder = Encoder(reader, family, count_inputs(rows, exposure="given", floor=0.3, dtype=DTYPE))
    options = {"n_levels": 2, "flow_layers": 1, "flow_sizes": (8,), "context_size": 0, "density_first": True}
    mixture = make_family("mixture", latent_dim, n_components=n_components, dtype=DTYPE, key=keys[2], **options)
    prior = LearnedPrior(mixture, first_parameters(mixture, DTYPE))
    return learn.Pair(GenerativeModel(prior, decoder), learn.Amortised(encoder))


def cells_of_ours(data: Blood, seed: int, options: argparse.Namespace) -> Record:
    """A fixed number of epochs on all training cells."""
    epochs, batch, rows = (3 if options.quick else options.cell_epochs), 56, data.rows[data.train]
    pair = cells_pair(rows, latent_dim=10, n_components=10, seed=seed)
    steps = epochs * learn.batch_shape(len(rows), batch)[0]
    optimiser: Any = Shrinking(learn.Optimiser(4e-3, steps, warmup_steps=20), options.decay)
    recipe = learn.Recipe(optimiser, batch_size=batch, dtype=DTYPE)
    train = learn.Dataset(jnp.asarray(rows))
    pair = learn.fit(pair, train, None, recipe, epochs=epochs, key=jax.random.key(seed)).pair
    draws = 100 if options.quick else 1000
    found = importance_evidence(pair.p, pair.q, data.rows[data.test], n_samples=draws, key=jax.random.key(1))
    mean = found.mean()
    latents = np.asarray(encode(pair.p, pair.q, data.rows).mean)
    return {"nats": mean.value, "error": mean.standard_error, "rand_index": data.index(latents)}


def negative_binomials(data: Blood) -> Record:
    """One a gene, exposure times its rate, the dispersion of most likelihood on a grid."""

    def log_prob(x: np.ndarray, mean: np.ndarray, r: np.ndarray) -> np.ndarray:
        first = gammaln(x + r) - gammaln(r) - gammaln(x + 1) + r * np.log(r / (r + mean))
        return np.asarray(first + x * np.log(mean / (r + mean)))

    x, exposure = data.counts, np.exp(data.log_exposure)[:, None]
    mean = exposure * (x[data.train].sum(axis=0) + 0.01) / exposure[data.train].sum()
    grid = np.exp(np.linspace(-4, 6, 60))
    fits = [log_prob(x[data.train], mean[data.train], np.full(x.shape[1], r)).sum(axis=0) for r in grid]
    nats = log_prob(x[data.test], mean[data.test], grid[np.argmax(fits, axis=0)]).sum(axis=1)
    return {"nats": float(nats.mean()), "error": float(nats.std(ddof=1) / math.sqrt(len(nats)))}


def cells(data: Blood, contender: str, seed: int, options: argparse.Namespace) -> Record:
    """One contender on one split."""
    if contender == OURS:
        return cells_of_ours(data, seed, options)
    if contender == "negative binomials":
        return negative_binomials(data)
    model = PCA(10, random_state=seed) if contender == "PCA" else FactorAnalysis(10, random_state=seed)
    return {"rand_index": data.index(model.fit(data.features[data.train]).transform(data.features))}


# --- Words ----------------------------------------------------------------------------------------------------------


class News:
    """Documents as compressed sparse rows."""

    def __init__(self, n_test: int | None):
        """All of them, or so many of the test part."""
        found = arrays(WORDS)

        def part(name: str) -> scipy.sparse.csr_matrix:
            pieces = (
                found[f"{name}_data"].astype(DTYPE),
                found[f"{name}_indices"].astype(int),
                found[f"{name}_indptr"],
            )
            return scipy.sparse.csr_matrix(pieces, shape=(len(pieces[2]) - 1, 2000))

        self.train, self.test = part("train"), part("test")
        if n_test is not None:
            self.test = self.test[np.random.default_rng(0).permutation(self.test.shape[0])[:n_test]]

    def shares(self) -> np.ndarray:
        """Of every word among all tokens of the training part, with one more of each."""
        counts = np.asarray(self.train.sum(axis=0), float).ravel() + 1
        return counts / counts.sum()


def words_pair(data: News, *, latent_dim: int, seed: int) -> learn.Pair:
    """softmax(W z + b): topics that multiply."""
    keys = jax.random.split(jax.random.key(seed))
    d = data.train.shape[1]
    network = with_bias(MLP(latent_dim, d, (), dtype=DTYPE, key=keys[0]), np.log(data.shares()), 0.5)
    family = DiagonalGaussianFamily(latent_dim)
    reader = MLP(d, family.n_parameters, (256,), dtype=DTYPE, key=keys[1])
    reader = with_bias(reader, np.zeros(family.n_parameters), 0.3)
    inputs = count_inputs(data.train[:3000].toarray(), floor=0.3, dtype=DTYPE)
    p = GenerativeModel(StandardGaussian(latent_dim, DTYPE), Decoder(network, MultinomialHead(d), latent_dim))
    return learn.Pair(p, learn.Amortised(Encoder(reader, family, inputs)))


def words_of_ours(data: News, seed: int, options: argparse.Namespace) -> Record:
    """Fitted to all but 800 documents of the training part, on which the epoch is chosen."""
    order = np.random.default_rng(seed).permutation(data.train.shape[0])
    epochs = 2 if options.quick else options.word_epochs
    steps = epochs * learn.batch_shape(len(order) - 800, 100)[0]
    recipe = learn.Recipe(learn.Optimiser(3e-3, steps, warmup_steps=50), batch_size=100, dtype=DTYPE)
    train, held_out = (learn.Dataset(sparse_rows(data.train[i], DTYPE)) for i in (order[800:], order[:800]))
    pair = words_pair(data, latent_dim=50, seed=seed)
    pair = learn.fit(pair, train, held_out, recipe, epochs=epochs, key=jax.random.key(seed)).pair
    total, bound = 0.0, 0.0
    for start_row in range(0, data.test.shape[0], 512):
        x = data.test[start_row : start_row + 512].toarray()
        found = importance_evidence(pair.p, pair.q, x, n_samples=options.word_draws, key=jax.random.key(1))
        orders = gammaln(x.sum(axis=1) + 1.0) - gammaln(x + 1.0).sum(axis=1)
        total += float(np.sum(found.log_evidence - orders))
        bound += float(np.sum(found.elbo - orders))
    tokens = float(data.test.sum())
    return {"perplexity": math.exp(-total / tokens), "perplexity_of_elbo": math.exp(-bound / tokens)}


def words(data: News, contender: str, seed: int, options: argparse.Namespace) -> Record:
    """One contender."""
    if contender == OURS:
        return words_of_ours(data, seed, options)
    if contender == "unigram":
        log_p = float(np.sum(np.asarray(data.test.sum(axis=0)).ravel() * np.log(data.shares())))
        return {"perplexity": math.exp(-log_p / float(data.test.sum()))}
    iterations = 2 if options.quick else options.lda_iterations
    model = LatentDirichletAllocation(20, learning_method="online", max_iter=iterations, random_state=seed)
    return {"perplexity": float(model.fit(data.train).perplexity(data.test))}


# --- Both -----------------------------------------------------------------------------------------------------------

RIVALS: dict[str, tuple[str, ...]] = {
    CELLS: (OURS, "negative binomials", "factor analysis", "PCA"),
    WORDS: (OURS, "unigram", "LDA"),
}


def main() -> None:
    """Measure and show."""
    options = parser(__doc__, (CELLS, WORDS), (OURS, *PEERS))
    options.set_defaults(seeds=[0, 1, 2])
    options.add_argument("--cell-epochs", type=int, default=80)
    options.add_argument("--decay", type=float, default=2.0, help="pull on the weights of the model of cells")
    options.add_argument("--word-epochs", type=int, default=20)
    options.add_argument("--word-draws", type=int, default=100, help="of importance sampling, a document")
    options.add_argument("--lda-iterations", type=int, default=10)
    options.add_argument("--test-documents", type=int, help="score so many documents of the test part (default: all)")
    chosen = options.parse_args()
    start(chosen)
    journal = Journal.of(chosen)
    for name in chosen.sets:
        for seed in chosen.seeds[:1] if chosen.quick else chosen.seeds:
            try:
                data: Any = Blood(seed) if name == CELLS else News(200 if chosen.quick else chosen.test_documents)
            except LeftOutError as error:
                journal.say(str(error))
                continue
            one: Callable[..., Record] = cells if name == CELLS else words
            for contender in (each for each in RIVALS[name] if each in chosen.contenders):
                about = {"set": name, "seed": seed, "contender": contender}
                attempt(journal, about, lambda d=data, c=contender, s=seed, f=one: f(d, c, s, chosen))
    show(journal.all(), "nats", "log p(x) of held-out cells given their library size, nats a cell")
    show(journal.all(), "rand_index", "k-means on ten numbers a cell: adjusted Rand index against the cell types")
    show(journal.all(), "perplexity", "Perplexity of held-out documents")


if __name__ == "__main__":
    main()
