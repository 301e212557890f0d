"""`tightbound reconstruct`."""

from tightbound.cli.options import Data, Model, Output, ReadOptions, Refine
from tightbound.cli.shared import load, write_like_data


def reconstruct(model: Model, data: Data, reading: ReadOptions, output: Output = "-", refine: Refine = 0) -> None:
    """Write the decoder's mean at the posterior mean of every row; missing cells are filled in."""
    from tightbound.data import check_apart, check_place

    check_place(output)
    check_apart(output, {"DATA": data})
    fitted = load(model, refine)
    write_like_data(output, fitted, fitted.reconstruct(reading.read_for(fitted, data)), rounded=False)
