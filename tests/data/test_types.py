"""A column type is one class: one from outside is inferred, shown, saved, coded, given back and modelled."""

import json
from collections.abc import Iterator
from typing import Any, final

import numpy as np
import polars as pl
import pytest

from tightbound.data import DataError, Schema, infer_schema
from tightbound.data.columns import plan_column
from tightbound.data.types import TYPES, Column
from tightbound.data.types.line import Numeric
from tightbound.data.types.reading import Reading


@final
class Angle(Numeric):
    """Degrees from 0 to 360."""

    word = "angle"
    families = ("gaussian", "student_t")

    def infer(self, reading: Reading) -> Column | None:
        """Numbers whose column is called an angle."""
        named = reading.is_numbers and reading.raw.name.endswith("angle")
        return self.found(reading, "Its name says angle") if named else None

    def outside(self, column: Column, numbers: np.ndarray) -> tuple[np.ndarray, str]:
        """More than a turn."""
        return (numbers < 0) | (numbers >= 360), "hold degrees from 0 to 360"

    def usual_family(self, column: Column, values: np.ndarray, continuous: str, counts: str) -> str:
        """Its own choice."""
        return "student_t"


@pytest.fixture
def angle() -> Iterator[Angle]:
    TYPES.append(Angle())
    yield TYPES[-1]
    TYPES.pop()


TABLE = pl.DataFrame({"wind angle": np.random.default_rng(0).uniform(0, 359, 50).round(1), "word": ["a", "b"] * 25})


def test_a_type_is_one_class_and_one_entry(angle: Angle) -> None:
    schema = infer_schema(TABLE)
    column = schema["wind angle"]
    assert column.type == angle and column.grid == 0.1
    assert repr(schema).splitlines()[0] == "2 columns: 1 binary, 1 angle" and "Its name says angle." in repr(schema)
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema
    codes = schema.codes(TABLE)
    assert schema.values(codes).equals(TABLE)
    with pytest.warns(UserWarning, match="degrees from 0 to 360"):
        schema.codes(TABLE.with_columns(pl.lit(400.0).alias("wind angle")))
    assert plan_column(column, codes[:, 0]).family == "student_t"
    assert infer_schema(TABLE.rename({"wind angle": "x"}), types={"x": "angle"})["x"].type == angle


def test_a_type_that_is_not_listed_is_unknown() -> None:
    with pytest.raises(DataError, match="'angle'"):
        infer_schema(TABLE, types={"word": "angle"})


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_types_are_values(kind: Any) -> None:
    assert kind == type(kind)() and hash(kind) == hash(type(kind)()) and kind.families and kind.word.islower()
    assert [other for other in TYPES if other == kind] == [kind]
