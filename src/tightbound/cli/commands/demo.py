"""`tightbound demo`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tightbound.cli.shared import REPORT_FILE, say

if TYPE_CHECKING:
    from tightbound.estimator.config import Config


def demo(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Where to put the model and the report.")
    ] = "tightbound-demo",
) -> None:
    """Fit the embedded handwritten digits, evaluate on held-out ones and write a report, in about two minutes."""
    from tightbound.data import read_table, split
    from tightbound.estimator.evaluate import evaluate
    from tightbound.estimator.fit import fit_table
    from tightbound.estimator.folder import check_target, save_model
    from tightbound.estimator.progress import WorkProgress, duration
    from tightbound.estimator.settings import Settings
    from tightbound.report import render

    target = Path(folder) / "digits"
    check_target(target, overwrite=True)
    digits = read_table("digits")
    fitting_rows, held_out_rows = split(digits.n_rows, 0.2, 0)
    train, held_out = digits.take(fitting_rows), digits.take(held_out_rows)
    say(f"Fitting {train.n_rows} handwritten digits of 8x8 pixels; {held_out.n_rows} more are held out.")
    configs: list[Config] = []
    with WorkProgress(True) as progress:

        def announce(config: "Config", messages: tuple[str, ...]) -> None:
            configs.append(config)
            progress.message(messages[0])

        model = fit_table(
            train,
            Settings(latent_dim=10, epochs=200, likelihood="bernoulli(binarize=True)"),
            seed=0,
            on_config=announce,
            on_epoch=progress.epoch,
        )
    with WorkProgress(True) as work:
        found = evaluate(model, held_out, train=train.take(configs[0].train), pictures=True, on_progress=work)
    found = dataclasses.replace(found, row_numbers=held_out_rows)
    page = render(found, "tightbound demo: handwritten digits").encode()
    save_model(target, model, overwrite=True, files={REPORT_FILE: page})
    say(f"{found}\n\nFitted in {duration(model.summary.seconds)}. Saved {target}; open {target / REPORT_FILE}")
