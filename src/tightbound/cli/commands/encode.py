"""`tightbound encode`."""

from typing import Annotated

import typer

from tightbound.cli.options import Data, Model, Output, ReadOptions, Refine
from tightbound.cli.shared import load


def encode(
    model: Model,
    data: Data,
    reading: ReadOptions,
    output: Output = "-",
    sd: Annotated[bool, typer.Option("--sd", help="Add the posterior standard deviations.")] = False,
    refine: Refine = 0,
) -> None:
    """Write the posterior mean of every latent dimension for every row."""
    import numpy as np

    from tightbound.data import check_apart, check_place, write_table

    check_place(output)
    check_apart(output, {"DATA": data})
    fitted = load(model, refine)
    latents = fitted.latents(reading.read_for(fitted, data))
    k = latents.mean.shape[1]
    names = [f"z{j}" for j in range(k)] + ([f"z{j}_sd" for j in range(k)] if sd else [])
    values = np.column_stack([latents.mean, latents.sd]) if sd else latents.mean
    write_table(output, values, names=names)
