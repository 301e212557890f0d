"""What the columns of a table hold: `schema`. Needs neither JAX nor a model, and is quick to start."""

import json
from collections.abc import Sequence
from typing import Any

from tightbound.cli.commands.printing import put
from tightbound.data import DataError, TableSchema, atomic_write, check_place, coded, read_table


def schema(
    *, data: str, output: str | None, array: str | None, label: str | None, drop: Sequence[str], as_json: bool
) -> None:
    """Infer a schema, show it, write it."""
    if output is not None:
        check_place(output, (".json",))
    table = read_table(data, array=array, label=label, drop=tuple(drop))
    found: Any = coded(table, table.coded).coded
    text = json.dumps(found.to_json(), indent=1)
    if output is not None:
        atomic_write(output, lambda stream: put(stream, text.encode()))
    if as_json:
        print(text)
        return
    print(found)
    if output is not None:
        print(f"Wrote {output}; edit it, and fit with --schema {output}.")


def read_schema(path: str) -> TableSchema:
    """A schema that a person may have edited."""
    try:
        with open(path, encoding="utf-8") as stream:
            values = json.load(stream)
    except OSError as error:
        raise DataError(
            f"The schema {path} must be a file that can be read; the system says {error.strerror}; check the path."
        ) from error
    except ValueError as error:
        raise DataError(
            f"The schema {path} must be JSON as `tightbound schema` writes it; it is not ({error}); correct it."
        ) from error
    return TableSchema.from_json(values)
