"""Single edits of the mathematics, each of which the default suite must notice, with the tests that should.

A standard error that is too large, a normaliser that is dropped, a sign that is flipped: what is plausible enough to
pass a careless test. `test_mutations.py` makes each edit in a copy of the package and runs its tests there.
"""

from typing import NamedTuple


class Mutation(NamedTuple):
    """One edit: the first text stands once in the file, and becomes the second."""

    file: str
    before: str
    after: str
    tests: str
    """Files of tests/, apart by spaces, of which one must fail."""


MUTATIONS = (
    # log weights and what they say of log p(x)
    Mutation(
        "model/generative.py",
        "return self.log_joint - self.log_q",
        "return self.log_joint + self.log_q",
        "evidence/test_importance.py",
    ),
    Mutation(
        "model/generative.py",
        "kl_weight * (self.log_prior - self.log_q)",
        "(self.log_prior - kl_weight * self.log_q)",
        "learn/test_objectives.py learn/test_exactness_of_gradients.py",
    ),
    Mutation(
        "evidence/weights.py",
        "n_samples / ess - 1, 0) / max(n_samples - 1, 1)",
        "n_samples / ess - 1, 0) / max(n_samples - 1, 1) * 4",
        "evidence/test_calibrated_errors.py",
    ),
    Mutation("evidence/weights.py", "np.log(m.sum_w / n_samples)", "np.log(m.sum_w)", "evidence/test_importance.py"),
    Mutation(
        "evidence/weights.py",
        "np.maximum(m.count - 1, 1) / m.count)",
        "np.maximum(m.count - 1, 1))",
        "evidence/test_calibrated_errors.py",
    ),
    Mutation(
        "evidence/weights.py",
        "math.log(defensive) + weight.log_prior",
        "weight.log_prior",
        "evidence/test_calibrated_errors.py",
    ),
    Mutation(
        "evidence/weights.py",
        "self.sum_w2 * shrink**2",
        "self.sum_w2 * shrink",
        "evidence/test_calibrated_errors.py",
    ),
    Mutation(
        "evidence/weights.py",
        "m2 + delta**2 * self.count * share",
        "m2",
        "evidence/test_calibrated_errors.py",
    ),
    Mutation("evidence/result.py", "(k * m + 10 * 0.5) / (m + 10)", "k", "evidence/test_pareto.py"),
    Mutation(
        "evidence/result.py", "np.minimum(1 - 1 / np.log10", "np.minimum(1 + 1 / np.log10", "evidence/test_pareto.py"
    ),
    Mutation("evidence/result.py", "min(0.2 * n_samples", "max(0.2 * n_samples", "evidence/test_pareto.py"),
    Mutation(
        "evidence/result.py",
        "CAREFUL_KHAT - CAREFUL_SLOPE",
        "CAREFUL_KHAT + CAREFUL_SLOPE",
        "evidence/test_automatic.py evidence/test_automatic_edges.py evidence/test_calibration.py",
    ),
    # exact values
    Mutation(
        "evidence/exact.py",
        "jnp.std(values, ddof=1) / _ELBO_DRAWS**0.5",
        "jnp.std(values, ddof=1)",
        "evidence/test_calibrated_errors.py",
    ),
    Mutation(
        "evidence/exact.py",
        "- posterior.log_prob(posterior.mean)",
        "+ posterior.log_prob(posterior.mean)",
        "evidence/test_exact.py",
    ),
    Mutation(
        "evidence/exact.py", "values = jnp.where(counted, ", "values = jnp.where(True, ", "evidence/test_exact.py"
    ),
    Mutation("evidence/exact.py", "weight = 2 / (n * (n - 1)", "weight = 2 / (n * n", "evidence/test_quadrature.py"),
    Mutation(
        "learn/inference/members.py",
        "precision = 1 / head.scale**2",
        "precision = 1 / head.scale",
        "evidence/test_exact.py",
    ),
    # annealing, brackets, the gap
    Mutation(
        "evidence/annealing.py",
        "log_w if group == 1 else",
        "log_w if True else",
        "evidence/test_calibrated_errors.py",
    ),
    Mutation(
        "evidence/annealing.py",
        "np.sqrt(w.var(axis=1, ddof=1) / units)",
        "np.sqrt(w.var(axis=1, ddof=1))",
        "evidence/test_calibrated_errors.py",
    ),
    Mutation(
        "evidence/annealing.py",
        "first.std(axis=1, ddof=1) / np.sqrt(c)",
        "first.std(axis=1, ddof=1)",
        "evidence/test_calibrated_errors.py",
    ),
    Mutation(
        "evidence/hmc.py",
        "0.5 * (momentum @ momentum - last @ last)",
        "0.5 * (last @ last - momentum @ momentum)",
        "evidence/test_annealing.py",
    ),
    Mutation("evidence/hmc.py", "(1 - b) * at.log_q)", "b * at.log_q)", "evidence/test_annealing.py"),
    Mutation(
        "evidence/hmc.py",
        "z, self.observed) + log_det",
        "z, self.observed)",
        "evidence/test_annealing.py evidence/test_bracket.py",
    ),
    Mutation(
        "evidence/hmc.py",
        "jnp.mean(acceptance[n_chains:])",
        "jnp.mean(acceptance[:n_chains])",
        "evidence/test_annealing.py evidence/test_bracket.py",
    ),
    Mutation(
        "evidence/hmc.py",
        "total - jnp.log(GROUP).astype(grouped.dtype)",
        "total",
        "evidence/test_calibrated_errors.py",
    ),
    Mutation(
        "evidence/hmc.py",
        "self._run(schedule[:-1], np.diff(schedule)",
        "self._run(schedule[1:], np.diff(schedule)",
        "evidence/test_annealing.py",
    ),
    Mutation(
        "evidence/hmc.py",
        "np.diff(schedule)[::-1], _BACK",
        "np.diff(schedule), _BACK",
        "evidence/test_bracket.py",
    ),
    Mutation(
        "evidence/bracket.py", "-logmeanexp(-back, axis=1)", "logmeanexp(back, axis=1)", "evidence/test_bracket.py"
    ),
    Mutation("evidence/bracket.py", "+ between / within", "- between / within", "evidence/test_bracket.py"),
    Mutation("evidence/gap.py", "best_elbo=self.best_elbo + by", "best_elbo=self.best_elbo", "evidence/test_gap.py"),
    Mutation(
        "evidence/gap.py",
        "return self.best_elbo - self.elbo",
        "return self.elbo - self.best_elbo",
        "evidence/test_gap.py",
    ),
    # comparisons and checks
    Mutation(
        "evidence/comparison.py",
        "mean_over_rows(values - others,",
        "mean_over_rows(values,",
        "evidence/test_comparison.py",
    ),
    Mutation(
        "evidence/diagnostics/decoder.py",
        "np.maximum(score**2 - f, _TINY) / (1 - f)",
        "np.maximum(score**2, _TINY)",
        "evidence/test_decoder_check.py",
    ),
    Mutation(
        "evidence/diagnostics/twosample.py",
        "(len(rows) + 1) / (12 * len(a) * len(b))",
        "(len(rows) + 1) / (3 * len(a) * len(b))",
        "evidence/test_health.py",
    ),
    Mutation(
        "evidence/reference/gaussians.py",
        "-0.5 * (squares + log_dets + d * np.log(2 * np.pi))",
        "-0.5 * (squares + log_dets)",
        "evidence/test_gaussians.py evidence/test_baselines.py",
    ),
    Mutation("tasks/conformal.py", "np.asarray((1 + np.sum(", "np.asarray((np.sum(", "tasks/test_conformal.py"),
    # distributions
    Mutation(
        "model/distributions.py",
        "- jnp.sum(jnp.log(jnp.diagonal(tril)))",
        "",
        "model/test_distributions.py",
    ),
    Mutation(
        "model/distributions.py",
        "n = self.dim if observed is None else jnp.sum(observed)",
        "n = self.dim",
        "model/test_distributions.py",
    ),
    Mutation(
        "model/distributions.py",
        "2 * jnp.sum(keep * jnp.log(self.scale))",
        "2 * jnp.sum(jnp.log(self.scale))",
        "model/test_distributions.py",
    ),
    Mutation(
        "model/distributions.py",
        "loc = self.loc + cross @ cho_solve",
        "loc = self.loc - cross @ cho_solve",
        "model/test_distributions.py",
    ),
    Mutation(
        "model/distributions.py",
        "jnp.where(observed, 1 / self.scale**2, 0)",
        "jnp.where(observed, 1 / self.scale, 0)",
        "model/test_distributions.py",
    ),
    Mutation(
        "model/mixtures.py",
        "(self.scale**2 + (self.loc - self.mean[None, :]) ** 2)",
        "(self.scale**2 + self.loc**2)",
        "model/test_distributions.py model/test_new_distributions.py",
    ),
    Mutation(
        "model/mixtures.py",
        "dz - solve_triangular(slope",
        "dz + solve_triangular(slope",
        "model/test_distributions.py model/test_new_distributions.py",
    ),
    Mutation(
        "model/divergences.py",
        "(q.scale**2 + q.loc**2 - 1) - jnp.log(q.scale)",
        "(q.scale**2 + q.loc**2 - 1) + jnp.log(q.scale)",
        "model/test_distributions.py",
    ),
    Mutation("model/divergences.py", "- q.dim) - log_det", "- q.dim)", "model/test_distributions.py"),
    Mutation(
        "model/flows/bijections.py",
        "return u + v * t, jnp.log1p(wv * (1 - t**2))",
        "return u + v * t, jnp.log1p(wv * (1 + t**2))",
        "model/test_bijections.py",
    ),
    Mutation(
        "model/flows/masked.py",
        "jnp.exp(s) * u + raw[:, 1], s",
        "jnp.exp(s) * u + raw[:, 1], -s",
        "model/test_bijections.py",
    ),
    # column likelihoods and mechanisms
    Mutation(
        "model/likelihoods/counts.py",
        "- jnp.log1p(k * jnp.exp(log_dispersion))",
        "+ jnp.log1p(k * jnp.exp(log_dispersion))",
        "model/test_column_likelihoods.py",
    ),
    Mutation(
        "model/likelihoods/counts.py",
        "joint(-self.base.log_positive(raw[:-1])",
        "joint(self.base.log_positive(raw[:-1])",
        "model/test_column_likelihoods.py",
    ),
    Mutation(
        "model/likelihoods/counts.py",
        "(self.base.variance(raw[:-1]) + pi * mean**2)",
        "self.base.variance(raw[:-1])",
        "model/test_column_likelihoods.py",
    ),
    Mutation(
        "model/likelihoods/levels.py",
        "jnp.where(first, FAR, -lower)",
        "jnp.where(first, FAR, lower)",
        "model/test_column_likelihoods.py",
    ),
    Mutation(
        "model/likelihoods/continuous.py",
        "term + log_shape - log_x",
        "term + log_shape",
        "model/test_column_likelihoods.py",
    ),
    Mutation(
        "model/likelihoods/continuous.py",
        "term + around - jnp.log(high - low)",
        "term + around",
        "model/test_column_likelihoods.py",
    ),
    Mutation(
        "model/likelihoods/missingness.py",
        "jax.lax.stop_gradient(self.factor) * (level - weight @ standard)",
        "(level - jax.lax.stop_gradient(self.factor) * weight @ standard)",
        "model/test_missingness.py",
    ),
    Mutation(
        "model/likelihoods/missingness.py",
        "log_odds, -log_odds)))",
        "log_odds, log_odds)))",
        "model/test_missingness.py",
    ),
    Mutation(
        "data/columns/scales.py",
        "-log_x - np.log(self.spread)",
        "-np.log(self.spread) + 0 * log_x",
        "data/test_columns_encoding.py data/test_encodings.py",
    ),
    # objectives and gradients
    Mutation(
        "learn/objectives.py",
        "jnp.mean(logsumexp(log_weights, axis=1)) - jnp.log(self.n_samples)",
        "jnp.mean(logsumexp(log_weights, axis=1))",
        "learn/test_objectives.py",
    ),
    Mutation(
        "learn/objectives.py",
        "self.elbo_weight) * w**2) /",
        "self.elbo_weight) * w) /",
        "learn/test_exactness_of_gradients.py learn/test_gradients.py",
    ),
    Mutation(
        "learn/gradients/pathwise.py",
        "jax.vmap(held.log_prob)(z))",
        "jax.vmap(q.log_prob)(z))",
        "learn/test_gradients.py learn/test_exactness_of_gradients.py",
    ),
    Mutation(
        "learn/gradients/pathwise.py",
        "factor = 1 - problem.kl_weight * (1 - jax.nn.softmax(tempered)[picked])",
        "factor = jnp.ones(())",
        "learn/test_gradients.py learn/test_exactness_of_gradients.py",
    ),
    Mutation(
        "learn/gradients/score_function.py",
        "(jnp.sum(signals) - signals) / (signals.shape[0] - 1)",
        "jnp.sum(signals) / signals.shape[0]",
        "learn/test_gradients.py learn/test_exactness_of_gradients.py",
    ),
    Mutation(
        "learn/gradients/score_function.py",
        "derivative = 0.5 * jnp.mean",
        "derivative = jnp.mean",
        "learn/test_gradients.py learn/test_exactness_of_gradients.py",
    ),
    Mutation(
        "learn/gradients/score_function.py",
        "signals = logsumexp(log_w) - logsumexp(without, axis=1)",
        "signals = logsumexp(log_w) + logsumexp(without, axis=1) - logsumexp(without)",
        "learn/test_gradients.py learn/test_exactness_of_gradients.py",
    ),
)
