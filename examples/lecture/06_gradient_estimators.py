"""Gradient estimators: variance and cost, where the exact gradient is known.

Of discrete draws the score function has no bias and much noise, which control variates take away (Mnih and Gregor 2014;
Kool et al. 2019; Dong et al. 2020; Mnih and Rezende 2016); a relaxation has little noise and a bias (Jang et al. 2017).
Pathwise gradients have less noise, sticking the landing (Roeder et al. 2017) and DReG (Tucker et al. 2019) less still.
All take two draws, so that the exact gradient is a sum over all pairs: of 2^8 states, or of nodes of a quadrature.
"""

import timeit

import jax
import jax.numpy as jnp
import numpy as np
from claims import claim, save

from tightbound import learn, model
from tightbound.model.axes import as_member, maker
from tightbound.report.style import DATA, MODEL, PRIOR, new_figure, style

jax.config.update("jax_enable_x64", True)
ROWS, N, KEY = 10, 2000, jax.random.key(3)
NODES, WEIGHTS = (jnp.array(a) for a in np.polynomial.hermite_e.hermegauss(40))  # quadrature for one Gaussian number
BITS = (model.Bernoulli(jnp.zeros(8)), model.BernoulliHead(64), model.BernoulliFamily(8))
NUMBER = (model.StandardGaussian(1), model.gaussian_head("shared", jnp.zeros(8)), model.DiagonalGaussianFamily(1))
NAMES = ("reinforce", "moving_average", "leave_one_out", "learned_baseline", "disarm", "vimco", "gumbel")
ESTIMATORS = [(*BITS, name) for name in NAMES] + [(*NUMBER, name) for name in ("reinforce", "pathwise", "stl", "dreg")]


def study(prior, head, family, name):
    """Greatest error of N estimates' mean in standard errors, variance in squared gradients, microseconds for one."""
    p = model.GenerativeModel(prior, model.Decoder(model.MLP(prior.dim, head.dim, (), key=KEY), head, prior.dim))
    x, z = jax.vmap(lambda key: p.sample(key=key))(jax.random.split(KEY, ROWS))
    phi = jax.vmap(family.near)(0.2 + 0.6 * z, jnp.full_like(z, 0.5))  # a q that knows a little of each row
    objective = learn.ImportanceWeighted(2) if name in ("vimco", "dreg") else learn.ELBO(2)
    estimator = maker((member := as_member("gradient", name)).home)(**member.arguments())

    def bound(phi, x):
        q = family(phi)
        z = model.all_states(q) if head is BITS[1] else q.loc + q.scale * NODES[:, None]
        mass = jnp.exp(jax.vmap(q.log_prob)(z)) if head is BITS[1] else WEIGHTS / WEIGHTS.sum()
        draws = learn.objectives.weigh(p, q, x, None, z, jax.vmap(q.log_prob)(z))
        pairs = jnp.indices((len(z), len(z))).reshape(2, -1).T
        values = jax.vmap(lambda pair: objective.value(jax.tree.map(lambda a: a[pair], draws)))(pairs)
        return mass[pairs].prod(axis=1) @ values

    def estimate(key, state):
        def surrogate(phi, x, key):
            found = estimator.estimate(learn.Problem(objective, p, family(phi), x, None, 1.0), state, key=key)
            return found.surrogate, found.signal

        return jax.vmap(jax.grad(surrogate, has_aux=True))(phi, x, jax.random.split(key, ROWS))

    def learnt(i, state):  # a baseline learns for a while, and then stays as it is
        return estimator.updated(state, x, estimate(jax.random.fold_in(KEY, i), state)[1], jnp.ones(ROWS))

    state = s if (s := estimator.initial_state(head.dim, "float64")) is None else jax.lax.fori_loop(0, 2000, learnt, s)
    run = jax.jit(lambda keys: jax.lax.map(lambda key: estimate(key, state)[0], keys, batch_size=50))
    g, exact = np.asarray(run(jax.random.split(KEY, N))), jax.jit(jax.vmap(jax.grad(bound)))(phi, x)
    seconds = timeit.repeat(lambda: run(jax.random.split(KEY, N)).block_until_ready(), number=1, repeat=5)
    error = np.max(np.abs(g.mean(axis=0) - exact) / (g.std(axis=0) / N**0.5))
    variance, cost = g.var(axis=0).sum() / np.sum(exact**2), 1e6 * np.median(seconds) / N / ROWS
    print(f"{name:>16}, dim z {prior.dim}: variance {variance:7.2f}, {cost:.2f} µs, mean at most {error:4.1f} se off")
    return error, variance, cost


errors, variance, cost = np.transpose([study(*which) for which in ESTIMATORS])
claim(max(np.delete(errors, 6)) < 5 < errors[6], "All but Gumbel-softmax agree with the exact gradient, within 5 se;")
claim(max(variance[[2, 4]]) < variance[0] / 5, "leave one out and DisARM vary less than a fifth as much as REINFORCE.")

with style():
    figure = new_figure(3, 7.2)
    left, right = figure.subplots(1, 2, sharey=True)
    for ax, values in ((left, variance), (right, cost)):
        ax.scatter(values, range(11), c=[*6 * [DATA], PRIOR, *4 * [MODEL]])
    left.set_yticks(range(11), [f"{name}, {'8 bits' if p.dim == 8 else 'Gaussian z'}" for p, *_, name in ESTIMATORS])
    left.set(xscale="log", ylim=(10.5, -0.5), xlabel="variance / squared gradient (grey: biased)")
    left.set_xticks(10.0 ** np.arange(-1, 5), ["0.1", "1", "10", "100", "1,000", "10⁴"])
    right.set(xlim=(0, None), xlabel="microseconds for the gradient of one row")
save(figure, "06_gradient_estimators")
