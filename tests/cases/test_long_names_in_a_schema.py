"""A long column name, and long levels, are told from each other in what `schema` prints."""

import polars as pl

from tightbound.data import infer_schema
from tightbound.data.errors import cut


def test_long_names_keep_their_ends() -> None:
    names = [f"measurement_of_the_left_hand_in_{year}" for year in (2019, 2020)]
    shown = repr(infer_schema(pl.DataFrame({name: [0.25 * k for k in range(60)] for name in names})))
    assert "measurement_of_the_…nd_in_2019" in shown and "measurement_of_the_…nd_in_2020" in shown
    assert "\n..." not in shown and len(cut(names[0], 30)) == 30 and cut("a\n b", 30) == "a b"


def test_a_long_list_of_levels_is_cut_between_levels() -> None:
    levels = ["extraordinarily unhappy", "unhappy", "neither of the two", "happy", "extraordinarily happy"]
    shown = repr(infer_schema(pl.DataFrame({"mood": levels * 20})))
    assert "(5 levels)" in shown and "…" in shown and "..." not in shown
    row = next(line for line in shown.splitlines() if line.startswith("mood"))
    assert all(cut(level, 12) in row for level in (sorted(levels)[0], sorted(levels)[1], sorted(levels)[-1]))
