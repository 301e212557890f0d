"""Files of every kind: read, written, and refused in one sentence."""

import fcntl
import gzip
import io
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from tightbound.data import (
    Aside,
    DataError,
    as_table,
    atomic_folder,
    atomic_write,
    check_place,
    read_table,
    write_table,
)

CSV = "a,b,kind\n1,0.5,u\n2,,v\n3,1e3,u\n"
NUMBERS = np.array([[1, 0.5], [2, np.nan], [3, 1000]])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", CSV.encode()),
        ("T.CSV", CSV.encode()),
        ("t.csv", CSV.replace("\n", "\r\n").encode()),
        ("t.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("t.csv", ("\n" + CSV.replace("2,,v", "\n2,NA,v") + "\n\n").encode()),
        ("t.csv", CSV.replace("2,,v", '2,"","v"').encode()),
        ("t.csv", CSV.replace("0.5,u", " 0.5 ,u").encode()),
        ("t.csv", CSV.replace(",", ";").replace("0.5", "0,5").encode()),
        ("t.csv", CSV.replace(",", ";").replace("0.5", '"0,5"').encode()),
        ("t.tsv", CSV.replace(",", "\t").encode()),
        ("t.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("t.tsv.gz", gzip.compress(CSV.replace(",", "\t").encode(), mtime=0)),
        ("t.csv", CSV.rstrip("\n").encode()),
    ],
)
def test_delimited_text_in_all_its_forms(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    table = read_table(tmp_path / name, label="kind")
    np.testing.assert_array_equal(table.values, NUMBERS)
    assert table.names == ("a", "b") and table.named and table.labels.tolist() == ["u", "v", "u"]
    assert table.dtypes == ("int64", "float64") and table.source == name


def test_types_of_delimited_columns(tmp_path):
    (tmp_path / "t.csv").write_text("i,f,b,none\n1,1.0,true,\n-2,2,false,NaN\n")
    table = read_table(tmp_path / "t.csv")
    assert table.dtypes == ("int64", "float64", "bool", "float64")
    np.testing.assert_array_equal(table.values, [[1, 1, 1, np.nan], [-2, 2, 0, np.nan]])


def test_a_type_that_changes_after_many_rows(tmp_path):
    rows = [*["1"] * 12_000, "1.5"]
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{row},2\n" for row in rows))
    table = read_table(tmp_path / "t.csv")
    assert table.values[-1, 0] == 1.5 and table.dtypes == ("float64", "int64")


@pytest.mark.parametrize(("first", "named"), [("1.5,2", False), ("0,1", True), ("a,2", True), ("a,", True)])
def test_a_first_line_of_numbers_is_data(tmp_path, first, named):
    (tmp_path / "t.csv").write_text(f"{first}\n3,4\n5,6\n")
    table = read_table(tmp_path / "t.csv")
    assert table.named == named and table.n_rows == (2 if named else 3)


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CSV.encode())))
    np.testing.assert_array_equal(read_table("-", drop=["kind"]).values, NUMBERS)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_known_columns_are_set_aside_where_they_are(tmp_path, name):
    fitted = read_table(io_path(tmp_path / name, a=[1, 2], k=["u", "v"], b=[3, 4]), label="k")
    assert fitted.aside == Aside("k")
    for columns in ({"a": [5], "b": [6]}, {"a": [5], "b": [6], "k": ["w"]}):
        table = read_table(io_path(tmp_path / name, **columns), known=fitted.aside)
        assert table.names == ("a", "b") and table.values.tolist() == [[5, 6]]


def io_path(path, **columns):
    write_table(path, {name: np.array(column) for name, column in columns.items()})
    return path


@pytest.mark.parametrize("wish", [{"label": "y"}, {"drop": ["x0"]}])
def test_images_have_no_columns_to_set_aside(tmp_path, wish):
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    for place in (tmp_path, "digits"):
        with pytest.raises(DataError, match="leave out"):
            read_table(place, **wish)


def test_digits():
    table = read_table("digits")
    assert table.shape == (8, 8) and table.values.dtype == np.uint8 and table.values.max() == 255
    assert set(table.labels) == set(range(10))


def test_arrays_of_an_archive(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.savez(tmp_path / "t.npz", x=images, y=[5, 6], z=[1, 2, 3])
    table = read_table(tmp_path / "t.npz", array="x", label="y")
    assert table.shape == (3, 4) and table.labels.tolist() == [5, 6]
    np.savez_compressed(tmp_path / "one.npz", images)
    np.testing.assert_array_equal(read_table(tmp_path / "one.npz").values, images.reshape(2, 12))
    for key, words in (("y", "one label"), ("z", "one label")):
        with pytest.raises(DataError, match=words):
            read_table(tmp_path / "t.npz", array="x" if key == "z" else "z", label=key)


def _image(mode, size=(3, 2), value=100):
    colour = value if len(mode) == 1 else (value,) * len(mode)
    return Image.new(mode, size, colour)


def test_a_folder_of_images(tmp_path):
    _image("L").save(tmp_path / "b.png")
    _image("L", value=7).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    table = read_table(tmp_path)
    assert table.shape == (2, 3) and table.values.dtype == np.uint8 and table.labels is None
    np.testing.assert_array_equal(table.values[:, 0], [7, 100])
    _image("RGBA").save(tmp_path / "c.png")
    _image("P").convert("P").save(tmp_path / "d.gif")
    assert read_table(tmp_path).shape == (2, 3, 3)


def test_transparent_pixels_are_white_and_folders_are_labels(tmp_path):
    for kind in ("cats", "dogs"):
        (tmp_path / kind).mkdir()
        Image.new("RGBA", (2, 2), (1, 2, 3, 0)).save(tmp_path / kind / "1.png")
    table = read_table(tmp_path)
    assert (table.values == 255).all() and table.labels.tolist() == ["cats", "dogs"]


# A name, the file's bytes (None: no file), and words that the sentence must hold.
BAD = {
    "missing file": ("none.csv", None, ["no such file", "check path"]),
    "missing npz": ("none.npz", None, ["no such file"]),
    "missing parquet": ("none.parquet", None, ["no such file"]),
    "missing of no kind": ("none", None, ["no such file"]),
    "unknown suffix": ("t.xlsx", b"PK", ["'.xlsx'", ".parquet", "convert"]),
    "empty": ("t.csv", b"", ["empty", "give a file"]),
    "blank": ("t.csv", b"\n \n", ["empty"]),
    "header only": ("t.csv", b"a,b\n", ["only a header", "give at least one row"]),
    "quoted header only": ("t.csv", b'"a","b"\n', ["only a header"]),
    "long line": ("t.csv", b"a,b\n1,2\n\n3,4,5\n", ["line 4 has 3", "mend"]),
    "short line": ("t.csv", b"a,b\n1,2\n3\n", ["line 3 has 1", "mend"]),
    "quoted long line": ("t.csv", b'a,b\n"1",2\n3,4,5\n', ["line 3 has 3", "mend"]),
    "open quote": ("t.csv", b'a,b\n"1,2\n3,4\n', ["line 3", "quotes"]),
    "word": ("t.csv", b"a,b\n1,2\n3,blue\n", ["'b'", "line 3", "'blue'", "drop"]),
    "word behind a quote": ("t.csv", b'a,b\n"1\n",2\n3,blue\n', ["'b'", "line 4", "'blue'"]),
    "duplicate names": ("t.csv", b"a,b,a\n1,2,3\n", ["'a' again", "rename"]),
    "latin 1": ("t.csv", b"a,b\n1,2\n3,\xe9\n", ["UTF-8", "line 3", "0xe9", "iconv"]),
    "utf 16 without its mark": ("t.csv", "a,b\n1,2\n".encode("utf-16-le"), ["UTF-16", "line 1", "iconv"]),
    "half of utf 16": ("t.csv", "a,b\n1,2\n".encode("utf-16")[:-1], ["whole text in UTF-16", "byte"]),
    "damaged gzip": ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:30], ["gzip", "damaged", "write it anew"]),
    "damaged parquet": ("t.parquet", b"PAR1 nothing PAR1", ["parquet", "damaged", "write it anew"]),
    "empty parquet": ("t.parquet", b"", ["parquet", "damaged"]),
    "damaged npy": ("t.npy", b"\x93NUMPY\x01\x00", ["damaged", "write it anew"]),
    "foreign npy": ("t.npy", b"hello", ["damaged", "does not start"]),
    "empty npy": ("t.npy", b"", ["damaged"]),
    "damaged npz": ("t.npz", b"PK\x03\x04hello", ["damaged"]),
}


@pytest.mark.parametrize(("name", "data", "words"), BAD.values(), ids=BAD.keys())
def test_bad_files_get_one_sentence(tmp_path, name, data, words):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / name)
    message = str(caught.value)
    assert name in message and message.endswith(".") and "\n" not in message
    for word in words:
        assert word in message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_objects_are_never_unpickled(tmp_path):
    trap = np.array([[print]], dtype=object)
    np.save(tmp_path / "t.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "t.npz", x=trap)
    for name in ("t.npy", "t.npz"):
        with pytest.raises(DataError, match=rf"{name}.*pickled.*numeric dtype"):
            read_table(tmp_path / name)


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_files_cut_short(tmp_path, cut):
    values = np.random.default_rng(0).normal(size=(200, 5))
    for name in ("t.npy", "t.npz", "t.parquet", "t.csv.gz"):
        write_table(tmp_path / name, values)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: int(len(data) * cut)])
        with pytest.raises(DataError, match=rf"{name}.*damaged"):
            read_table(tmp_path / name)


def test_arrays_to_choose_from_are_listed(tmp_path):
    np.savez(tmp_path / "t.npz", x_train=np.ones((2, 2)), x_test=np.ones((2, 2)))
    with pytest.raises(DataError, match=r"t\.npz.*'x_train', 'x_test'.*name it"):
        read_table(tmp_path / "t.npz")
    with pytest.raises(DataError, match=r"'x_tset'.*'x_train', 'x_test'.*did you mean 'x_test'"):
        read_table(tmp_path / "t.npz", array="x_tset")
    np.savez(tmp_path / "none.npz")
    with pytest.raises(DataError, match=r"none\.npz.*holds none"):
        read_table(tmp_path / "none.npz")
    with pytest.raises(DataError, match=r"\.npz file.*leave out"):
        read_table(tmp_path / "t.csv", array="x")


def test_bad_image_folders(tmp_path):
    with pytest.raises(DataError, match="holds none: name the folder"):
        read_table(tmp_path)
    _image("L").save(tmp_path / "a.png")
    _image("L", size=(3, 2)).save(tmp_path / "b.png")
    _image("L", size=(4, 2)).save(tmp_path / "c.png")
    with pytest.raises(DataError, match=r"3 x 2 pixels as in a\.png, but c\.png has 4 x 2: resize"):
        read_table(tmp_path)
    (tmp_path / "c.png").write_bytes((tmp_path / "b.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"c\.png.*mend or remove"):
        read_table(tmp_path)
    Image.fromarray(np.zeros((2, 3), dtype=np.uint16)).save(tmp_path / "c.png")
    with pytest.raises(DataError, match=r"c\.png.*8 bits.*convert"):
        read_table(tmp_path)


def test_a_path_without_rights(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text(CSV)
    monkeypatch.setattr("pathlib.Path.read_bytes", _refuse)
    with pytest.raises(DataError, match=r"t\.csv.*permission denied.*rights"):
        read_table(tmp_path / "t.csv")


def _refuse(*arguments):
    raise PermissionError(13, "Permission denied")


# Writing

SUFFIXES = [".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".npy", ".npz"]
NUMBER = st.floats(allow_infinity=True, allow_nan=True, allow_subnormal=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(values=arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=NUMBER))
def test_what_is_written_is_read_back_exactly(tmp_path_factory, suffix, values):
    path = tmp_path_factory.getbasetemp() / f"roundtrip{suffix}"
    write_table(path, values)
    table = read_table(path)
    np.testing.assert_array_equal(table.values, values)
    assert table.names == tuple(f"x{j}" for j in range(values.shape[1]))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["int64", "bool", "float32", "uint8"])
def test_every_dtype_is_read_back(tmp_path, suffix, dtype):
    values = np.array([[0, 1], [1, 1], [1, 0]]).astype(dtype) / np.array(3 if dtype == "float32" else 1, dtype=dtype)
    write_table(tmp_path / f"t{suffix}", values)
    np.testing.assert_array_equal(read_table(tmp_path / f"t{suffix}").values.astype(dtype), values.astype(dtype))


@pytest.mark.parametrize("suffix", [".csv", ".tsv.gz", ".parquet"])
def test_named_columns_and_images_become_columns(tmp_path, suffix):
    columns = {"id": np.array(["u", 'v "w", x']), "z": np.arange(4.0).reshape(2, 2), "im": np.ones((2, 1, 2))}
    write_table(tmp_path / f"t{suffix}", columns)
    table = read_table(tmp_path / f"t{suffix}", label="id")
    assert table.names == ("z_0", "z_1", "im_0", "im_1") and table.labels.tolist() == ["u", 'v "w", x']
    np.testing.assert_array_equal(table.values, [[0, 1, 1, 1], [2, 3, 1, 1]])


def test_arrays_keep_their_shape(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_table(tmp_path / "t.npy", images)
    np.testing.assert_array_equal(np.load(tmp_path / "t.npy"), images)
    write_table(tmp_path / "t.npz", {"file": images, "y": np.arange(2)})
    with np.load(tmp_path / "t.npz") as archive:
        np.testing.assert_array_equal(archive["file"], images)
        np.testing.assert_array_equal(archive["y"], [0, 1])


def test_names_and_standard_output(capsysbinary):
    write_table("-", np.array([[1.5, np.nan]]), names=["a", "b"])
    assert capsysbinary.readouterr().out == b"a,b\n1.5,\n"


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_names_must_fit(tmp_path, names):
    with pytest.raises(DataError, match=r"t\.csv.*2 different column names"):
        write_table(tmp_path / "t.csv", np.ones((3, 2)), names=names)


def test_no_rows_can_be_written(tmp_path):
    write_table(tmp_path / "t.csv", np.empty((0, 2)))
    assert (tmp_path / "t.csv").read_text() == "x0,x1\n"


def test_a_place_is_looked_at_before_the_work(tmp_path):
    for name in ("t.csv", "T.CSV.GZ", "t.npz", "-"):
        check_place(name if name == "-" else tmp_path / name)
    check_place("t.html", (".html",))
    for place, words in (("t.txt", "end in one of .csv"), (tmp_path / "no" / "t.csv", "no is none: make that folder")):
        with pytest.raises(DataError, match=words):
            check_place(place)


def test_bad_targets(tmp_path):
    with pytest.raises(DataError, match=r"t\.xlsx.*\.parquet.*choose"):
        write_table(tmp_path / "t.xlsx", NUMBERS)
    with pytest.raises(DataError, match="make that folder"):
        write_table(tmp_path / "none" / "t.csv", NUMBERS)
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(DataError, match=r"it is a folder.*choose another"):
        write_table(tmp_path / "t.csv", NUMBERS)
    with pytest.raises(DataError, match=r"columns of one length"):
        write_table(tmp_path / "u.csv", {"a": np.ones(2), "b": np.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), RuntimeError("bug")])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, error):
    target = tmp_path / "model.bin"
    target.write_bytes(b"old")

    def write(stream):
        stream.write(b"new, but only ha")
        raise error

    with pytest.raises((DataError, KeyboardInterrupt, RuntimeError)) as caught:
        atomic_write(target, write)
    assert isinstance(caught.value, DataError) == isinstance(error, OSError)
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_the_name_appears_only_when_all_is_written(tmp_path):
    target = tmp_path / "t.bin"
    seen = []

    def write(stream):
        stream.write(b"whole")
        seen.append(target.exists())

    atomic_write(target, write)
    assert seen == [False] and target.read_bytes() == b"whole"


def test_what_killed_runs_left_is_swept_and_what_runs_is_not(tmp_path):
    """Of this name alone, and only what no living process holds."""
    left, running, other = (tmp_path / f".{name}.part" for name in ("t.bin.1a2b", "t.bin.3c4d", "u.bin.1a2b"))
    for place in (left, running, other):
        place.write_bytes(b"half")
    with running.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        atomic_write(tmp_path / "t.bin", b"whole")
        assert not left.exists() and running.exists() and other.exists()
    atomic_write(tmp_path / "t.bin", b"whole")
    assert not running.exists() and (tmp_path / "t.bin").read_bytes() == b"whole"


def test_a_folder_takes_the_place_of_another(tmp_path):
    for files in ({"a": b"1", "b": b"2"}, {"a": b"3"}):
        atomic_folder(tmp_path / "deep" / "model", files)
        assert {file.name: file.read_bytes() for file in (tmp_path / "deep" / "model").iterdir()} == files
    assert [place.name for place in (tmp_path / "deep").iterdir()] == ["model"]


def test_objects_of_numbers_and_texts_that_spell_numbers_are_numbers():
    frame = pd.DataFrame({"a": np.array([1, "2", None, 3.5], dtype=object)})
    np.testing.assert_array_equal(as_table(frame).values[:, 0], [1, 2, np.nan, 3.5])
    with pytest.raises(DataError, match="values of one type"):
        as_table(pd.DataFrame({"a": np.array([1, "two"], dtype=object)}))


@pytest.mark.parametrize("quote", ["", '"'])
def test_the_decimal_comma_of_numbers_is_no_comma_of_texts(tmp_path, quote):
    lines = [f"{q}{j},5{q};{q}hello, {'world' if j % 2 else 'moon'}{q}" for j, q in enumerate([quote] * 40)]
    (tmp_path / "t.csv").write_text("\n".join(["a;b", *lines, "1.5;hello, world"]))
    table = read_table(tmp_path / "t.csv")
    np.testing.assert_array_equal(table.values[:, 0], [*(np.arange(40) + 0.5), 1.5])
    assert table.coded.columns[1].levels == ("hello, moon", "hello, world")


def test_a_label_of_a_nullable_type_may_have_gaps():
    frame = pd.DataFrame(
        {"a": [1.0, 2.0], "b": pd.array([1, None], dtype="Int64"), "c": pd.array([0.5, None], "Float64")}
    )
    assert as_table(frame, label="b").labels.tolist() == ["1", ""]
    np.testing.assert_array_equal(as_table(frame, label="c").labels, [0.5, np.nan])


def test_links_and_devices_are_followed(tmp_path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    write_table(tmp_path / "link.csv", np.array([[1.0]]))
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "real.csv").read_text() == "x0\n1.0\n"
    atomic_write("/dev/null", lambda stream: stream.write(b"gone") and None)


def test_real_files(shared_data):
    iris = read_table(shared_data / "tables" / "iris.csv.gz", label="species")
    assert iris.values.shape == (150, 4) and len(set(iris.labels)) == 3 and iris.observed.all()
    air = read_table(shared_data / "tables" / "airquality.csv.gz")
    assert air.n_rows == 153 and int((~air.observed).sum()) == 44
    digits = read_table(shared_data / "images" / "digits8x8.npz", array="x_test", label="y_test")
    np.testing.assert_array_equal(np.rint(digits.values * (255 / 16)), read_table("digits").values)


def test_a_frame_and_its_file_are_the_same_table(tmp_path):
    frame = pl.DataFrame({"a": [1, None, 3], "b": [0.1, 0.2, None], "c": [True, False, True]})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_csv(tmp_path / "t.csv")
    expected = as_table(frame)
    for name in ("t.parquet", "t.csv"):
        table = read_table(tmp_path / name)
        np.testing.assert_array_equal(table.values, expected.values)
        assert (table.names, table.dtypes, table.container) == (expected.names, expected.dtypes, expected.container)
