"""Text files as people and programs write them: fields first, then each column's numerals."""

import codecs
import gzip

import numpy as np
import polars as pl
import pytest
from tests.tiny import run

from tightbound.data import DataError, coded, filled_text, read_table
from tightbound.data.cells.text import NumberFormat, number_format, numbers_like, usual_decimal
from tightbound.data.read.dialect import dialect_of

LETTERS = "uvw"


def written(path, text, encoding="utf-8"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def rows(line, n=30):
    """A line for each number from 0, with that number in it."""
    return "".join(line.format(i=i, j=i % 10, kind=LETTERS[i % 3]) + "\n" for i in range(n))


DIALECTS = {
    "comma": ("a,b\n1,2\n3,4\n", ","),
    "semicolon": ("a;b\n1;2\n", ";"),
    "tab": ("a\tb\n1\t2\n", "\t"),
    "bar": ("a|b\n1|2\n", "|"),
    "commas in the header": ("income, EUR;age, years\n1;2\n3;4\n", ";"),
    "commas in all texts": ("name, first;town\nSmith, John;Bonn\nRoe, Kim;Rome\n", ";"),
    "decimal commas in every field": ("1,5;2,5\n3,25;4,5\n", ";"),
    "decimal commas under names": ("a;b\n1,5;2,5\n3,25;4,5\n", ";"),
    "semicolons in quoted texts": ('a,b\n1,"x; y"\n2,"z; w"\n', ","),
    "semicolons in every quoted text": ('"a;b",c\n"x;y",2\n"z;w",3\n', ","),
    "commas within tabs": ("a, b\tc, d\n1,5\t2,5\n", "\t"),
    "one column": ("a\n1\n2\n", ","),
    "a line that is too long": ("a;b;c\n" + "1;2;3\n" * 20 + "1;2;3;4\n", ";"),
    "line breaks in quotes": ('a;b\n"1, 2,\n3";4\n"5\n6";7\n', ";"),
}


@pytest.mark.parametrize(("text", "separator"), DIALECTS.values(), ids=DIALECTS)
def test_the_separator_is_the_one_that_cuts_all_lines_alike(text, separator):
    assert dialect_of(text.encode()).separator == separator


def test_a_space_may_stand_before_a_quote(tmp_path):
    table = read_table(written(tmp_path / "t.csv", "a, b\n" + rows('{j}, "x, {kind}"')))
    assert table.names == ("a", "b") and table.coded["b"].levels == ("x, u", "x, v", "x, w")


def test_a_spreadsheet_says_its_separator(tmp_path):
    table = read_table(written(tmp_path / "t.csv", "sep=;\na;b\n1;x,y\n2;z\n"), drop=["b"])
    assert table.values.tolist() == [[1], [2]]
    with pytest.raises(DataError, match="line 4 has 3"):
        read_table(written(tmp_path / "t.csv", "sep=;\na;b\n1;2\n1;2;3\n"))


@pytest.mark.parametrize("quote", ["", '"'])
def test_commas_of_texts_stay_commas(tmp_path, quote):
    line = f"{quote}Roe, {{kind}}{quote};{{j}},5;{quote}{{kind}},1{quote}"
    table = read_table(written(tmp_path / "t.csv", "name;value;code\n" + rows(line)))
    schema = table.coded
    assert schema["name"].levels == ("Roe, u", "Roe, v", "Roe, w")
    assert schema["code"].levels == ("u,1", "v,1", "w,1")
    np.testing.assert_array_equal(table.values[:, 1], [i % 10 + 0.5 for i in range(30)])
    given_back = schema.values(table.values, like=table.native)
    assert given_back["value"][3] == "3,5" and given_back["name"][0] == "Roe, u"


# What stands in a column, what it is, the mark of decimals that is said; the rest of the file may decide.
NUMERALS = {
    "german": (["20.628,65", "1.204,50", "12,00"], [20628.65, 1204.5, 12], ","),
    "english": (["20,628.65", "1,204.50", "12.00"], [20628.65, 1204.5, 12], "."),
    "thousands under a point": (["20,628", "1,204.5", "12"], [20628, 1204.5, 12], "."),
    "thousands under a comma": (["20.628", "1.204,5", "12"], [20628, 1204.5, 12], ","),
    "swiss": (["20'628.65", "1'204.5", "12"], [20628.65, 1204.5, 12], "."),
    "french": (["20 628,65", "1\u202f204,5", "12"], [20628.65, 1204.5, 12], ","),
    "millions": (["1.234.567", "20", "3"], [1234567, 20, 3], ","),
    "exponents": (["1,5e3", "2,5E-1", "3"], [1500, 0.25, 3], ","),
    "beside points": (["1,5", "2.5", ",25"], [1.5, 2.5, 0.25], ","),
    "minus": (["\u22121,5", "2,5", "-3"], [-1.5, 2.5, -3], ","),
    "full width": (["１２．５", "３", "４"], [12.5, 3, 4], "."),
    "arabic": (["١٢", "٣", "٤"], [12, 3, 4], "."),
}


@pytest.mark.parametrize("separator", ["\t", ";"])
@pytest.mark.parametrize(("cells", "values", "mark"), NUMERALS.values(), ids=NUMERALS)
def test_numerals_of_a_column_have_one_decimal_mark(tmp_path, cells, values, mark, separator):
    text = "a\tb\n" + "".join(f"{cell}\tu\n" for cell in cells)
    table = read_table(written(tmp_path / "t.csv", text.replace("\t", separator)), drop=["b"])
    np.testing.assert_array_equal(table.values[:, 0], values)
    column = coded(table).coded["a"]
    assert column.number_format.decimal == mark
    assert mark == "." or "decimal mark ','" in column.reason


# The same column, "1,234" or "1.234", is read by what the rest of its file says.
REST = {
    "nothing, by tabs": ("\t", "7", 1234, 1.234),
    "nothing, by semicolons": (";", "7", 1.234, 1.234),
    "decimal commas": ("\t", "0,5", 1.234, 1234),
    "decimal points": (";", "0.5", 1234, 1.234),
    "both": ("\t", "0.5\t0,5", 1234, 1.234),
}


@pytest.mark.parametrize(("separator", "beside", "comma", "point"), REST.values(), ids=REST)
def test_what_could_be_read_either_way_is_read_as_the_rest_of_the_file(tmp_path, separator, beside, comma, point):
    for cell, value in (("1,234", comma), ("1.234", point)):
        fields = [cell, *beside.split("\t")]
        text = "\n".join([separator.join("abc"[: len(fields)]), *[separator.join(fields)] * 3])
        assert read_table(written(tmp_path / "t.csv", text)).values[0, 0] == value


def test_a_table_in_memory_is_read_as_a_whole_too():
    either, sure = pl.Series(["1,234", "5,678"]), pl.Series(["0,5", "2"])
    assert usual_decimal([either]) == "." and usual_decimal([either, sure]) == ","
    assert number_format(either) == NumberFormat(".", ",") and number_format(either, ",").thousands == ""


def test_new_rows_may_be_written_in_another_way_but_never_be_guessed():
    german = NumberFormat(",", ".")
    np.testing.assert_array_equal(numbers_like(pl.Series(["1.234,5", None]), german), [1234.5, np.nan])
    np.testing.assert_array_equal(numbers_like(pl.Series(["12.5", "1,234.5"]), german), [12.5, 1234.5])
    assert np.isnan(numbers_like(pl.Series(["12.5", "1,234,5"]), german)).all()
    assert np.isnan(numbers_like(pl.Series(["1,234", "5"]), NumberFormat(places=3))).tolist() == [True, False]


def test_a_cell_that_is_no_number_is_named_in_every_format(tmp_path):
    for cell in ("1{i}.{j}00,5", "{i},{j}5", "{i}.5"):
        text = "a;b\n" + rows(cell + ";{kind}") + "see below;u\n"
        with pytest.raises(DataError, match="'see below'"):
            read_table(written(tmp_path / "t.csv", text))


UNICODE = {
    "utf-16": codecs.BOM_UTF16_LE + "größe\tart\n1.5\tä\n2.5\tö\n".encode("utf-16-le"),
    "utf-16, big-endian": codecs.BOM_UTF16_BE + "größe\tart\r\n1.5\tä\r\n2.5\tö\r\n".encode("utf-16-be"),
    "utf-32": codecs.BOM_UTF32_LE + "größe\tart\n1.5\tä\n2.5\tö\n".encode("utf-32-le"),
    "utf-8": codecs.BOM_UTF8 + "größe\tart\n1.5\tä\n2.5\tö\n".encode(),
}


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.tsv.gz"])
@pytest.mark.parametrize("data", UNICODE.values(), ids=UNICODE)
def test_unicode_is_read_by_its_byte_order_mark(tmp_path, name, data):
    path = written(tmp_path / name, gzip.compress(data) if name.endswith("gz") else data)
    table = read_table(path, label="art")
    assert table.names == ("größe",) and table.values.tolist() == [[1.5], [2.5]] and table.labels.tolist() == ["ä", "ö"]


def test_filled_cells_are_written_as_their_column_is(tmp_path):
    text = "a;b;c\n20.628,5;7;1\n;8,25;2\n1,5;;\n"
    table = read_table(written(tmp_path / "t.csv", text))
    filled = pl.DataFrame(
        {"a": [20628.5, 1234567.25, 1.5], "b": [7.0, 8.25, 0.1 + 0.2], "c": [1.0, 2.0, 12345678901.0]}
    )
    found = filled_text(filled, table, str(tmp_path / "t.csv"))
    assert found["a"].to_list() == ["20.628,5", "1.234.567,25", "1,5"]
    assert found["b"].to_list() == ["7", "8,25", "0,3"] and found["c"].to_list() == ["1", "2", "12345678901"]


def test_the_command_reads_what_a_spreadsheet_writes(tmp_path):
    path = written(tmp_path / "t.csv", ("größe, cm\tart\n" + rows("1.{j}00,{j}\t{kind}")).encode("utf-16"))
    done = run("schema", path)
    assert done.status == 0 and "decimal mark ',', thousands '.'" in " ".join(done.out.split())
