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
from typing import Any

import numpy as np
import scipy.sparse
from scipy.special import gammaln
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, FactorAnalysis, LatentDirichletAllocation
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import train_test_split

from common import OURS, Journal, LeftOutError, Record, attempt, data_folder, parser, show, start
from tightbound import VAE, likelihoods, networks
from tightbound.model import MLP

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


# --- Cells ----------------------------------------------------------------------------------------------------------


class Blood:
    """The cells of one split; a row is its counts and, last, how many were read in all."""

    def __init__(self, seed: int):
        """Split by this seed."""
        found = arrays(CELLS)
        self.counts, self.types = found["counts"].astype(float), found["cell_type"]
        self.train, self.test = train_test_split(np.arange(len(self.counts)), test_size=0.2, random_state=seed)
        log_total = np.log(found["total_umi"].astype(float))
        self.log_exposure = log_total - log_total[self.train].mean()
        self.rows = scipy.sparse.csr_array(np.column_stack([self.counts, found["total_umi"]]))
        self.features = np.log1p(self.counts / np.exp(self.log_exposure)[:, None])

    def index(self, numbers: np.ndarray) -> float:
        """Adjusted Rand index of k-means on these numbers, averaged over its starts."""
        found = (KMeans(10, n_init=10, random_state=s).fit_predict(numbers) for s in range(KMEANS_SEEDS))
        return float(np.mean([adjusted_rand_score(self.types, labels) for labels in found]))


def cells_of_ours(data: Blood, seed: int, options: argparse.Namespace) -> Record:
    """A linear decoder and a small encoder, a mixture prior, weight decay, a fixed number of epochs on all cells."""
    vae = VAE(
        10,
        exposure=data.counts.shape[1],
        likelihood=likelihoods.Columns(spread=options.spread),
        network=networks.Custom(encoder=lambda i, o, *, key: MLP(i, o, (64,), key=key), others=networks.Linear()),
        prior="mixture",
        weight_decay=options.decay,
        learning_rate=4e-3,
        batch_size=56,
        epochs=3 if options.quick else options.cell_epochs,
        validation_fraction=0,
        random_state=seed,
    ).fit(data.rows[data.train])
    mean = vae.evidence(data.rows[data.test], 100 if options.quick else 1000, method="importance").mean()
    latents = vae.transform(data.rows)
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


def words_of_ours(data: News, seed: int, options: argparse.Namespace) -> Record:
    """softmax(W z + b), fitted to the sparse rows; the epoch is chosen on rows that the fit holds out."""
    vae = VAE(
        50,
        likelihood="multinomial",
        network="linear",
        learning_rate=3e-3,
        epochs=2 if options.quick else options.word_epochs,
        random_state=seed,
    ).fit(data.train)
    found = vae.evidence(data.test, options.word_draws, method="importance")
    # log p of the words in their order: without the number of orders that a bag has.
    orders = np.zeros(data.test.shape[0])
    for begin in range(0, len(orders), 512):
        x = data.test[begin : begin + 512].toarray()
        orders[begin : begin + 512] = gammaln(x.sum(axis=1) + 1.0) - gammaln(x + 1.0).sum(axis=1)
    tokens = float(data.test.sum())
    total, bound = (float(np.sum(values - orders)) for values in (found.log_evidence, found.elbo))
    return {"perplexity": math.exp(-total / tokens), "perplexity_of_elbo": math.exp(-bound / tokens)}


def words(data: News, contender: str, seed: int, options: argparse.Namespace) -> Record:
    """One contender."""
    if contender == OURS:
        return words_of_ours(data, seed, options)
    if contender == "unigram":
        log_p = float(np.sum(np.asarray(data.test.sum(axis=0)).ravel() * np.log(data.shares())))
        return {"perplexity": math.exp(-log_p / float(data.test.sum()))}
    iterations = 2 if options.quick else options.lda_iterations
    model = LatentDirichletAllocation(20, learning_method="batch", max_iter=iterations, random_state=seed)
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
    options.add_argument("--decay", type=float, default=6.0, help="pull on the weights of the model of cells")
    options.add_argument("--spread", default="column", help="whether a gene's dispersion is one or follows from z")
    options.add_argument("--word-epochs", type=int, default=20)
    options.add_argument("--word-draws", type=int, default=100, help="of importance sampling, a document")
    options.add_argument("--lda-iterations", type=int, default=30)
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
