"""Whether BlackJAX's Hamiltonian kernel costs more than ours, in the annealing that evidence is made of.

    .venv-bench/bin/python benchmarks/kernels.py                    # a table: ms a move, ratio, gradients, compile time
    .venv-bench/bin/python benchmarks/kernels.py --rows 4 --turns 3 # a quick look

One annealing of q(z | x) to p(x, z) for a few rows at once, 784-200-200-50 with tanh, Bernoulli pixels and random
weights: the same `scan` over temperatures, the same `vmap` over rows and chains, as many leapfrog steps of the same
sizes, in the same coordinates (those in which q is standard); only the move differs. In each turn every contender runs
once; medians over turns. Gradients are counted where log p(x, z) is evaluated, in a run of one chain.

- `ours`: `tightbound.evidence.hmc.move`, which keeps both ends of the path for each chain, so that the next
  temperature needs no gradient anew.
- `blackjax, init`: `blackjax.hmc` as its users write annealing: at each temperature its state is made anew for the new
  target (`init`, one gradient), and the weight is had from one more evaluation of log p(x, z) without gradient.
- `blackjax, carried`: the same kernel, the state of the new target computed from that of the old one: q is standard in
  these coordinates, so its part can be taken off the density and gradient that BlackJAX returns, and put on again. As
  few gradients as ours; it works for Gaussian q alone.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np

from tightbound.evidence.hmc import SHORTEST, Path, move, path_of
from tightbound.model import DiagonalGaussian, Specification, Start, build

STEP_SIZE = 0.4
"""In q's units; about three moves in four are accepted."""

Anneal = Callable[..., Any]


def problem(n_rows: int) -> tuple[Any, jax.Array, DiagonalGaussian]:
    """p with random weights, rows that it made, and a q around the latents that made them."""
    spec = Specification(784, 50, likelihood="bernoulli", network="mlp(hidden_sizes=(200, 200), activation=tanh)")
    p = build(spec, start=Start(np.full(784, 0.3, "float32"), np.zeros(784, "float32")), key=jax.random.key(0)).p
    x, z = jax.vmap(lambda key: p.sample(key=key))(jax.random.split(jax.random.key(1), n_rows))
    noise = 0.3 * jax.random.normal(jax.random.key(2), z.shape)
    return p, x, DiagonalGaussian(z + noise, jnp.full(z.shape, 0.5))


def ours(path: Path, schedule: jax.Array, n_leapfrog: int, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log weight of one chain, and its mean acceptance."""

    def step(carry: Any, t: jax.Array) -> Any:
        at, log_w = carry
        b = schedule[t]
        log_w = log_w + (b - schedule[t - 1]) * at.log_weight
        at, acceptance = move(path, at, b, jnp.float32(STEP_SIZE), n_leapfrog, key=jax.random.fold_in(key, t))
        return (at, log_w), acceptance

    start = path.point(path.draw(key=key))
    (at, log_w), acceptance = jax.lax.scan(step, (start, jnp.float32(0)), jnp.arange(1, len(schedule) - 1))
    return log_w + (schedule[-1] - schedule[-2]) * at.log_weight, jnp.mean(acceptance)


def length(key: jax.Array) -> jax.Array:
    """A step size of the kind that `move` draws."""
    return STEP_SIZE * jax.random.uniform(jax.random.fold_in(key, 1), (), "float32", SHORTEST, 1)


def joint(path: Path) -> Callable[[jax.Array], jax.Array]:
    """log p(x, z) as a function of q's coordinates."""
    return lambda u: path.p.log_joint(path.x, path.loc + path.scale * u, path.observed)


def standard(path: Path, u: jax.Array) -> jax.Array:
    """log q in its own coordinates, with respect to z."""
    return -0.5 * (u @ u) - jnp.sum(jnp.log(path.scale)) - 0.5 * u.size * jnp.log(2 * jnp.pi)


def blackjax_init(path: Path, schedule: jax.Array, n_leapfrog: int, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """As `ours`, by BlackJAX, its state made anew at each temperature."""
    kernel, log_joint = blackjax.hmc.build_kernel(), joint(path)
    inverse_mass = jnp.ones_like(path.loc)

    def step(carry: Any, t: jax.Array) -> Any:
        u, log_w = carry
        b, key_t = schedule[t], jax.random.fold_in(key, t)
        log_w = log_w + (b - schedule[t - 1]) * (log_joint(u) - standard(path, u))

        def target(u: jax.Array) -> jax.Array:
            return (1 - b) * standard(path, u) + b * log_joint(u)

        state = blackjax.hmc.init(u, target)
        state, info = kernel(key_t, state, target, length(key_t), inverse_mass, n_leapfrog)
        return (state.position, log_w), info.acceptance_rate

    start = (path.draw(key=key), jnp.float32(0))
    (u, log_w), acceptance = jax.lax.scan(step, start, jnp.arange(1, len(schedule) - 1))
    last = log_joint(u) - standard(path, u)
    return log_w + (schedule[-1] - schedule[-2]) * last, jnp.mean(acceptance)


def blackjax_carried(path: Path, schedule: jax.Array, n_leapfrog: int, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """As `ours`, by BlackJAX, the state of one temperature computed from that of the last."""
    kernel, log_joint = blackjax.hmc.build_kernel(), joint(path)
    inverse_mass = jnp.ones_like(path.loc)

    def step(carry: Any, t: jax.Array) -> Any:
        u, value, slope, log_w = carry
        b, key_t = schedule[t], jax.random.fold_in(key, t)
        log_w = log_w + (b - schedule[t - 1]) * (value - standard(path, u))

        def target(u: jax.Array) -> jax.Array:
            return (1 - b) * standard(path, u) + b * log_joint(u)

        state = blackjax.mcmc.hmc.HMCState(u, (1 - b) * standard(path, u) + b * value, b * slope - (1 - b) * u)
        state, info = kernel(key_t, state, target, length(key_t), inverse_mass, n_leapfrog)
        u = state.position
        value = (state.logdensity - (1 - b) * standard(path, u)) / b
        return (u, value, (state.logdensity_grad + (1 - b) * u) / b, log_w), info.acceptance_rate

    u = path.draw(key=key)
    start = (u, *jax.value_and_grad(log_joint)(u), jnp.float32(0))
    (u, value, _, log_w), acceptance = jax.lax.scan(step, start, jnp.arange(1, len(schedule) - 1))
    return log_w + (schedule[-1] - schedule[-2]) * (value - standard(path, u)), jnp.mean(acceptance)


CONTENDERS: dict[str, Anneal] = {
    "ours": ours,
    "blackjax, init": blackjax_init,
    "blackjax, carried": blackjax_carried,
}


def batched(anneal: Anneal, p: Any, n_chains: int, n_leapfrog: int) -> Anneal:
    """All chains of all rows, compiled."""

    def one(x: jax.Array, q: DiagonalGaussian, schedule: jax.Array, key: jax.Array) -> Any:
        keys = jax.random.split(key, n_chains)
        return jax.vmap(lambda k: anneal(path_of(p, q, x, None), schedule, n_leapfrog, k))(keys)

    return jax.jit(jax.vmap(one, in_axes=(0, 0, None, 0)))


def evaluations(anneal: Anneal, p: Any, x: jax.Array, q: Any, n_leapfrog: int) -> tuple[float, float]:
    """How often a move takes the gradient of log p(x, z), and how often its value alone."""
    count = {"value": 0, "gradient": 0}

    class Counting:
        """log p(x, z), counted at run time: a plain evaluation, or one whose gradient is taken."""

        def log_joint(self, x: jax.Array, z: jax.Array, observed: Any) -> jax.Array:
            @jax.custom_vjp
            def value(z: jax.Array) -> jax.Array:
                jax.debug.callback(lambda: tell("value"))
                return p.log_joint(x, z, observed)

            def forward(z: jax.Array) -> tuple[jax.Array, jax.Array]:
                jax.debug.callback(lambda: tell("gradient"))
                result, slope = jax.value_and_grad(lambda z: p.log_joint(x, z, observed))(z)
                return result, slope

            value.defvjp(forward, lambda slope, g: (g * slope,))
            return value(z)

    def tell(what: str) -> None:
        count[what] += 1

    def total(n_moves: int) -> np.ndarray:
        count.update(value=0, gradient=0)
        schedule = jnp.linspace(0, 1, n_moves + 2, dtype="float32")
        run = jax.jit(lambda key: anneal(Path(Counting(), q, None, x, None, q.loc, q.scale), schedule, n_leapfrog, key))
        jax.block_until_ready(run(jax.random.key(0)))
        jax.effects_barrier()
        return np.array([count["gradient"], count["value"]])

    gradients, values = (total(9) - total(4)) / 5
    return float(gradients), float(values)


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=25)
    parser.add_argument("--chains", type=int, default=20)
    parser.add_argument("--temperatures", type=int, default=20)
    parser.add_argument("--leapfrog", type=int, default=3)
    parser.add_argument("--turns", type=int, default=9)
    given = parser.parse_args()
    p, x, q = problem(given.rows)
    schedule = jnp.linspace(0, 1, given.temperatures + 1, dtype="float32")
    keys = jax.random.split(jax.random.key(3), given.rows)
    programs, compiling, found = {}, {}, {}
    for name, anneal in CONTENDERS.items():
        started = time.perf_counter()
        programs[name] = batched(anneal, p, given.chains, given.leapfrog).lower(x, q, schedule, keys).compile()
        compiling[name] = time.perf_counter() - started
        found[name] = jax.block_until_ready(programs[name](x, q, schedule, keys))
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(given.turns):
        for name, program in programs.items():
            started = time.perf_counter()
            jax.block_until_ready(program(x, q, schedule, keys))
            seconds[name].append(time.perf_counter() - started)
    print(f"{given.rows} rows, {given.chains} chains each, {given.leapfrog} leapfrog steps, medians of {given.turns}")
    print("| move | ms a move | ratio | gradients | values | compile, s | acceptance | mean log weight |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    one_q = jax.tree.map(lambda a: a[0], q)
    for name, anneal in CONTENDERS.items():
        log_w, acceptance = found[name]
        ratio = np.median(np.array(seconds[name]) / np.array(seconds["ours"]))
        gradients, values = evaluations(anneal, p, x[0], one_q, given.leapfrog)
        print(
            f"| {name} | {1000 * np.median(seconds[name]) / (given.temperatures - 1):.2f} | {ratio:.2f} | "
            f"{gradients:g} | {values:g} | {compiling[name]:.1f} | {float(jnp.mean(acceptance)):.2f} | "
            f"{float(jnp.mean(log_w)):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
