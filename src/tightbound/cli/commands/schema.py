"""`tightbound schema`, which needs neither JAX nor a model, and is quick to start."""

from typing import Annotated, Any

import typer

from tightbound.cli.options import Data, Json, ReadOptions
from tightbound.cli.shared import say, write_bytes
from tightbound.model.strict_json import dumps


def schema(
    data: Data,
    reading: ReadOptions,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="SCHEMA", help="A .json file to write the schema to.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what each column of DATA holds, and why; the file it writes can be edited and given to fit --schema."""
    from tightbound.data import check_apart, check_place, coded, how_modelled

    if output is not None:
        check_place(output, (".json",))
        check_apart(output, {"DATA": data})
    table = reading.read(data)
    found: Any = coded(table, table.coded).coded
    text = dumps(found.to_json(), indent=1)
    if output is not None:
        write_bytes(output, text.encode())
    if as_json:
        say(text)
        return
    say(found)
    say(how_modelled(table))
    if output is not None:
        say(f"Wrote {output}; edit it, and fit with --schema {output}.")
