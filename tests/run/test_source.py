"""Rows of every kind of file are those an independent reader sees, memory does not grow with the file, and each fault has its letter."""

import csv
import datetime as dt
import gzip
import importlib.util
import io
import json
import subprocess
import sys
from decimal import Decimal
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from exegete.core.errors import ExegeteError, InputError, MissingExtra, UsageError
from exegete.run import source as under_test
from exegete.run.source import Source
from support.data import shared_data

NASTY = (
    "plain words",
    'a "quoted" word, and a comma; and a semicolon',
    "zwei Wörter — 漢字 🙂",
    "a line separator\u2028inside, a form feed\x0c, a next line\x85 too",
    "  blanks around  ",
    "'tis 1,000",
)
RECORDS = [{"sentence": t, "label": n % 2, "more": {"n": [n, None, 0.5]}} for n, t in enumerate(NASTY)]
FLAT = [{"sentence": r["sentence"], "label": str(r["label"])} for r in RECORDS]


def rows(path, **options):
    return list(Source(str(path), **options).rows())


def fields(path, **options):
    return [r.fields for r in rows(path, **options)]


def renamed(records):
    """What is expected: the records of another reader, the sentence called text."""
    return [{"text" if k == "sentence" else k: v for k, v in r.items()} for r in records]


def write(tmp_path, name, data):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def written(records, mark=",", quoting=csv.QUOTE_MINIMAL):
    out = io.StringIO()
    table = csv.DictWriter(
        out, list(records[0]), delimiter=mark, quoting=quoting, quotechar=None if mark == "\t" else '"'
    )
    table.writeheader()
    table.writerows(records)
    return out.getvalue()


def lines(records):
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records)


@pytest.mark.parametrize("pack", ["", ".gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_json(tmp_path, pack, end):
    path = write(tmp_path, "a.jsonl" + pack, lines(RECORDS).replace("\n", end) + end)
    assert fields(path) == renamed(RECORDS)
    assert [(r.id, r.place) for r in rows(path)][:2] == [("1", "Line 1"), ("2", "Line 2")]


@pytest.mark.parametrize("pack", ["", ".gz"])
def test_an_array_of_json(tmp_path, pack):
    path = write(tmp_path, "a.json" + pack, json.dumps(RECORDS, indent=1))
    assert fields(path) == renamed(RECORDS)
    assert rows(path)[2].place == "Object 3"


@pytest.mark.parametrize("pack", ["", ".gz"])
def test_an_array_of_strings_is_what_the_same_lines_of_text_are(tmp_path, pack):
    """Blank ones are left out and keep their number, as blank lines are and do."""
    texts = [*NASTY[:2], "", " \t", *NASTY[2:]]
    path = write(tmp_path, "a.json" + pack, json.dumps(texts))
    lined = write(tmp_path, "a.txt" + pack, "\n".join(texts))
    assert [r.fields["text"] for r in rows(path)] == list(NASTY)
    assert [(r.id, r.fields) for r in rows(path)] == [(r.id, r.fields) for r in rows(lined)]
    assert rows(path)[2].place == "Text 5"
    two = write(tmp_path, "b.json", json.dumps(["over\ntwo lines"]))
    assert fields(two) == [{"text": "over\ntwo lines"}]


@pytest.mark.parametrize("pack", ["", ".gz"])
@pytest.mark.parametrize("mark", [",", ";"])
def test_csv_with_cells_of_several_lines(tmp_path, pack, mark):
    records = [*FLAT, {"sentence": "over\ntwo lines", "label": "1"}, {"sentence": "last", "label": "0"}]
    text = written(records, mark)
    path = write(tmp_path, "a.csv" + pack, text)
    assert fields(path) == renamed(csv.DictReader(io.StringIO(text, newline=""), delimiter=mark))
    assert [r.place for r in rows(path)[-2:]] == ["Line 9", "Line 10"]


@pytest.mark.parametrize("pack", ["", ".gz"])
def test_tsv_takes_quotes_as_they_are(tmp_path, pack):
    text = "sentence\tlabel\n" + "".join(f"{r['sentence']}\t{r['label']}\n" for r in FLAT)
    path = write(tmp_path, "a.tsv" + pack, text)
    assert fields(path) == renamed(FLAT)
    assert rows(path)[0].id == "2"


@pytest.mark.parametrize("pack", ["", ".gz"])
def test_texts_a_line(tmp_path, pack):
    path = write(tmp_path, "a.txt" + pack, b"\xef\xbb\xbf" + "\n \n".join(NASTY).encode())
    assert fields(path) == [{"text": t} for t in NASTY]
    assert [r.place for r in rows(path)] == [f"Line {n}" for n in (1, 3, 5, 7, 9, 11)]


def test_parquet(tmp_path):
    table = pa.Table.from_pylist(RECORDS * 200)
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    assert fields(tmp_path / "a.parquet") == renamed(table.to_pylist())
    assert rows(tmp_path / "a.parquet")[-1].place == "Row 1200"


def test_an_index_that_pandas_saved_is_no_column(tmp_path):
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    pd.DataFrame({"text": ["a", "b"], "x": [1.0, None]}, index=[7, 9]).to_parquet(tmp_path / "a.parquet")
    assert fields(tmp_path / "a.parquet") == [{"text": "a", "x": 1.0}, {"text": "b", "x": None}]


def test_values_become_plain(tmp_path):
    when = dt.datetime(2020, 1, 2, 3, 4, 5)
    values = {
        "text": ["a"], "day": [dt.date(2020, 1, 2)], "when": [when], "span": [dt.timedelta(minutes=1)], "clock": [dt.time(3, 4)],
        "price": [Decimal("1.25")], "count": [Decimal("7")], "nan": [float("nan")], "list": [[1, 2]], "raw": [None],
    }  # fmt: skip
    parquet.write_table(pa.table(values), tmp_path / "a.parquet")
    (found,) = fields(tmp_path / "a.parquet")
    assert found == {
        "text": "a", "day": "2020-01-02", "when": "2020-01-02T03:04:05", "span": 60.0, "clock": "03:04:00",
        "price": 1.25, "count": 7, "nan": None, "list": [1, 2], "raw": None,
    }  # fmt: skip
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_numpy_values_are_plain():
    np = pytest.importorskip("numpy")
    value = {"a": np.float32(0.5), "b": np.arange(2), 1: (np.str_("x"), np.bool_(True), np.float64("nan"))}
    assert under_test.plain(value) == {"a": 0.5, "b": [0, 1], "1": ["x", True, None]}


# --- which columns


def test_columns_ids_and_the_limit(tmp_path):
    made = [
        {"id": 7, "review": "one", "label": 1, "note": "x"},
        {"id": "b", "review": "two", "label": 0},
        {"id": 2.5, "review": "three"},
    ]
    path = write(tmp_path, "a.jsonl", lines(made))
    assert [r.id for r in rows(path)] == ["7", "b", "2.5"]
    assert [r.id for r in rows(path, id="")] == ["1", "2", "3"]
    assert [r.id for r in rows(path, id="review")] == ["one", "two", "three"]
    assert fields(path, columns=("label",)) == [
        {"text": "one", "label": 1},
        {"text": "two", "label": 0},
        {"text": "three", "label": None},
    ]
    assert fields(path, columns=()) == [{"text": "one"}, {"text": "two"}, {"text": "three"}]
    assert fields(path, text="note", limit=1) == [{"text": "x", "id": 7, "review": "one", "label": 1}]
    assert fields(path, text="") == made


def test_the_limit_stops_before_a_fault(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"text": "a"}\n{"text": "b"}\nno\n')
    assert [r.id for r in rows(path, limit=2)] == ["1", "2"]
    with pytest.raises(InputError, match="Line 3 is not JSON"):
        rows(path, limit=3)


def test_a_directory_mixes_kinds_and_settles_columns_file_by_file(tmp_path):
    write(tmp_path, "d/b.csv", "sentence,label\nfrom b,1\n")
    write(tmp_path, "d/a.txt", "from a\n\nagain\n")
    write(tmp_path, "d/c/z.jsonl", '{"id": "mine", "text": "from z"}\n')
    for passed in (".hidden/x.bin", ".DS_Store", "README.md", "LICENSE", "c/.git"):
        write(tmp_path, f"d/{passed}", b"\0")
    found = [(r.id, r.place, r.fields["text"]) for r in rows(tmp_path / "d")]
    assert found == [
        ("a.txt:1", "Line 1 of a.txt", "from a"),
        ("a.txt:3", "Line 3 of a.txt", "again"),
        ("b.csv:2", "Line 2 of b.csv", "from b"),
        ("mine", "Line 1 of c/z.jsonl", "from z"),
    ]


def test_links_are_followed_and_no_directory_is_entered_twice(tmp_path):
    write(tmp_path, "away/a.txt", "one\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "link").symlink_to(tmp_path / "away")
    (tmp_path / "d" / "round").symlink_to(tmp_path / "d")
    assert [r.id for r in rows(tmp_path / "d")] == ["link/a.txt:1"]


# --- data sets


def saved(path, texts, files=2):
    """A folder as `Dataset.save_to_disk` writes it, by hand."""
    path.mkdir(parents=True)
    names = [f"data-{k:05d}-of-{files:05d}.arrow" for k in range(files)]
    for k, name in enumerate(names):
        table = pa.table({"text": texts[k::files]})
        with ipc.new_stream(str(path / name), table.schema) as out:
            out.write_table(table, max_chunksize=5000)
    (path / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": n} for n in names], "_split": None})
    )
    (path / "dataset_info.json").write_text("{}")


def test_a_saved_data_set_is_read_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    texts = [f"text {n}" for n in range(3000)]
    saved(tmp_path / "s", texts)
    found = rows(tmp_path / "s")
    assert [r.fields["text"] for r in found] == texts[::2] + texts[1::2]
    assert (found[-1].id, found[-1].place) == ("3000", "Row 3000")


def test_splits_of_a_saved_data_set(tmp_path):
    for split in ("train", "test"):
        saved(tmp_path / "s" / split, [split])
    told = tmp_path / "s" / "dataset_dict.json"
    told.write_text('{"splits": ["train"]}')
    assert fields(tmp_path / "s") == [{"text": "train"}]
    told.write_text('{"splits": ["train", "test"]}')
    with pytest.raises(InputError, match=r"It has 2 splits: train, test\.\nName one: .*/s/SPLIT"):
        rows(tmp_path / "s")
    assert fields(tmp_path / "s" / "test") == [{"text": "test"}]


def test_the_hub_is_asked_for_name_configuration_and_split(monkeypatch):
    asked = []

    class Gone(Exception): ...

    def load(name, config, split, streaming):
        asked.append((name, config, split, streaming))
        if name == "gone":
            raise Gone("no such thing\nat all")
        sets = {"train": [{"text": "a"}, {"text": "b"}]} | ({"test": []} if name == "two" else {})
        return sets if split is None else sets[split]

    fake = SimpleNamespace(load_dataset=load, exceptions=SimpleNamespace(DatasetsError=Gone))
    monkeypatch.setitem(sys.modules, "datasets", fake)
    for path in ("hf:org/one", "hf:one:train", "hf:two:sst2:train"):
        assert [(r.id, r.place, r.fields) for r in rows(path)] == [
            ("1", "Row 1", {"text": "a"}),
            ("2", "Row 2", {"text": "b"}),
        ]
    assert asked == [
        ("org/one", None, None, True),
        ("one", None, "train", True),
        ("two", "sst2", "train", True),
    ]
    with pytest.raises(InputError, match=r"It has 2 splits: train, test\.\nName one: hf:two:SPLIT"):
        rows("hf:two")
    with pytest.raises(InputError, match=r"It holds no row"):
        rows("hf:two:test")
    with pytest.raises(InputError, match=r"The package datasets cannot read it \(no such thing\)"):
        rows("hf:gone")
    for wrong in ("hf:", "hf::train", "hf:a:b:c:d"):
        with pytest.raises(UsageError, match="A data set is named hf:NAME"):
            rows(wrong)


def test_the_package_datasets_itself(tmp_path):
    if importlib.util.find_spec("datasets") is None:
        pytest.skip("the package datasets is not installed (exegete[data])")
    import datasets

    write(tmp_path, "files/train.jsonl", lines(FLAT))
    assert fields(f"hf:{tmp_path / 'files'}:train") == renamed(FLAT)
    made = datasets.Dataset.from_list(FLAT).shuffle(seed=1)
    made.save_to_disk(str(tmp_path / "s"), num_shards=2)
    assert fields(tmp_path / "s") == renamed(list(made))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'exegete\[data\]'"):
        rows("hf:imdb:train")


# --- memory


PEAKS = """
import json, sys, tracemalloc
import pyarrow as pa
from exegete.run.source import Source, _Ids

def peak(path):
    most, before = 0, pa.total_allocated_bytes()
    tracemalloc.start()
    for n, _ in enumerate(Source(path, text="").rows()):
        most = max(most, pa.total_allocated_bytes() - before) if n % 100 == 0 else most
    most += tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most

peaks = [peak(path) for path in sys.argv[1:]]
ids, n = _Ids(), 30_000
tracemalloc.start()
new = sum(ids.add(f"id {k}") for k in range(n))
each = tracemalloc.get_traced_memory()[0] / n
tracemalloc.stop()
print(json.dumps([peaks, new, sum(ids.add(f"id {k}") for k in range(n)), each]))
"""
HELD = ("a.jsonl", "a.jsonl.gz", "a.csv", "a.tsv", "a.txt", "a.parquet", "saved")


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """The most that Python and Arrow hold while 1,500 rows and ten times as many are read, in bytes by kind; what 30,000 ids take.

    In a process of its own: the checks of every call, which tests switch on, would take most of the time.
    """
    base, paths = tmp_path_factory.mktemp("held"), []
    for name in HELD:
        for times in (1, 10):
            texts = [f"{n} " + "word " * 40 for n in range(1500 * times)]
            path = base / str(times) / name
            path.parent.mkdir(exist_ok=True)
            if name == "saved":
                saved(path, texts, files=1)
            elif name.endswith(".parquet"):
                parquet.write_table(pa.table({"text": texts}), path, row_group_size=1500)
            else:
                jsonl = lines({"text": t} for t in texts)
                write(path.parent, name, jsonl if "jsonl" in name else "text\n" + "\n".join(texts))
            paths.append(str(path))
    said = subprocess.run([sys.executable, "-c", PEAKS, *paths], capture_output=True, text=True, check=True)
    peaks, *ids = json.loads(said.stdout)
    return dict(zip(HELD, zip(peaks[::2], peaks[1::2]))), ids


@pytest.mark.parametrize("name", HELD)
def test_memory_does_not_grow_with_the_file(held, name):
    few, many = held[0][name]
    assert many < 1.5 * few + 50_000


def test_an_id_takes_24_bytes_at_most(held):
    new, again, each = held[1]
    assert (new, again) == (30_000, 0)
    assert 8 < each < 25


def test_equal_hashes_of_different_ids_are_no_duplicates(tmp_path, monkeypatch):
    monkeypatch.setattr(under_test, "hash", lambda name: 0, raising=False)
    made = [{"id": n, "text": "a"} for n in range(20)]
    assert len(rows(write(tmp_path, "a.jsonl", lines(made)))) == 20
    with pytest.raises(InputError, match=r"The id '7' stands twice: Line 8 and Line 21\."):
        rows(write(tmp_path, "a.jsonl", lines([*made, {"id": 7, "text": "a"}])))


# --- letters

ONE = '{"id": "x", "text": "a"}\n'
LETTERS = {
    "a column that is not there": ("a.csv", "text,label\na,1\n", {"columns": ("labl",)}, "It has no column 'labl'; its columns are text, label."),
    "no column of texts": ("a.csv", "words,label\na,1\n", {}, "No column is called 'text'; its columns are words, label."),
    "several columns of texts": ("a.csv", "question,content\na,1\n", {}, "Several columns may hold the text: content, question"),
    "no column of ids": ("a.jsonl", ONE, {"id": "key"}, "It has no column 'key'; its columns are id, text."),
    "a row without a text": ("a.jsonl", ONE + '{"id": "y", "txt": "b"}', {}, "Line 2 has no field 'text'; its fields are id, txt."),
    "a row without an id": ("a.jsonl", ONE + '{"text": "b"}', {}, "Line 2 has no field 'id'; its fields are text."),
    "two columns called text": ("a.csv", "text,sentence\na,b\n", {"text": "sentence"}, "there is a column 'text' too"),
    "malformed": ("a.jsonl", ONE + "\n{'text': 1}", {}, "Line 3 is not JSON (Expecting property name enclosed in double quotes)."),
    "a number of 5000 digits": ("a.jsonl", '{"text": "a", "n": ' + "1" * 5000 + "}", {}, "Line 1 cannot be read as JSON (Exceeds the limit"),
    "brackets without end": ("a.jsonl", '{"text": ' + "[" * 100_000 + "}", {}, "Line 1 cannot be read as JSON (maximum recursion"),
    "no object": ("a.jsonl", ONE + "[1]", {}, "Line 2 is a list, no object with fields."),
    "no object in the array": ("a.json", '[{"text": "a"}, 3]', {}, "Object 2 is a number, no object with fields."),
    "strings and objects": ("a.json", '["a", {"text": "b"}]', {}, "Object 1 is a text, no object with fields."),
    "blank strings alone": ("a.json", '["", " "]', {}, "It holds no row."),
    "a column of bare strings": ("a.json", '["a"]', {"text": "review"}, "It has no column 'review'; its columns are text."),
    "no array": ("a.json", '{"text": "a"}', {}, "It holds an object, no list."),
    "lines in .json": ("a.json", ONE + ONE, {}, "Line 2 is not JSON (Extra data)."),
    "ids that are the same": ("a.jsonl", ONE + '{"id": "y", "text": "b"}\n\n' + ONE, {}, "The id 'x' stands twice: Line 1 and Line 4."),
    "a number and its word": ("a.jsonl", '{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}', {}, "The id '1' stands twice: Line 1 and Line 2."),
    "an empty id": ("a.csv", "id,text\n1,a\n ,b\n", {}, "Line 3 has an empty id in 'id'."),
    "no id": ("a.jsonl", ONE + '{"id": null, "text": "b"}', {}, "Line 2 has an empty id in 'id'."),
    "an id that is a list": ("a.jsonl", '{"id": [1], "text": "b"}', {}, "Line 1 has a list as its id in 'id'."),
    "an id that is a truth value": ("a.jsonl", '{"id": true, "text": "b"}', {}, "Line 1 has a bool as its id in 'id'."),
    "an empty file": ("a.jsonl", "", {}, "It holds no row."),
    "an empty table": ("a.csv", "", {}, "It holds no row."),
    "a table of a head": ("a.csv", "text,label\n", {}, "It holds no row."),
    "an empty list": ("a.json", "[]", {}, "It holds no row."),
    "blank lines": ("a.txt", "\n \n\t\r\n", {}, "It holds no row."),
    "blank lines of a table": ("a.csv", "\n\n", {}, "It holds no row."),
    "another encoding": ("a.txt", b"fine\nna\xefve\n", {}, "Line 2 is not valid UTF-8 (byte 7 is 0xef)."),
    "another encoding after a mark": ("a.txt", b"\xef\xbb\xbfok\xff\n", {}, "Line 1 is not valid UTF-8 (byte 5 is 0xff)."),
    "a character cut by the end of its line": ("a.csv", b"text\nfine\n\xe2\x82\n", {}, "Line 3 is not valid UTF-8 (byte 10 is 0xe2)."),
    "a zero byte": ("a.jsonl", ONE + '{"id": "y", "text": "b\0"}', {}, "Line 2 holds a zero byte: this is binary data."),
    "cells too many": ("a.csv", "text,label\na,1\nb, c,0\n", {}, "Line 3 has 3 cells, where the first line has 2."),
    "cells too few": ("a.tsv", "text\tlabel\na\n", {}, "Line 2 has 1 cells, where the first line has 2."),
    "a quote left open": ("a.csv", 'label,text\n1,a\n0,"b\n1,c\n', {}, "Line 3 opens a quote that is never closed."),
    "a quote left open in the head": ("a.csv", '"text\na\n', {}, "Line 1 opens a quote that is never closed."),
    "a column named twice": ("a.csv", "text,text\na,b\n", {}, "Line 1 names the column 'text' twice."),
    "a text that is a number": ("a.jsonl", '{"text": 3}', {}, "Line 1 has a int in 'text', no text."),
    "a text that is null": ("a.jsonl", ONE + '{"id": "y", "text": null}', {}, "Line 2 has null in 'text', no text."),
    "an empty text": ("a.csv", "sentence,label\na,1\n ,0\n", {}, "Line 3 has an empty text in 'sentence'."),
    "half a character": ("a.jsonl", '{"text": "\\ud83d"}', {}, "Line 1 has half a surrogate pair in 'text', which is no plain data."),
    "an infinite number": ("a.jsonl", '{"text": "a", "x": {"y": [1e999]}}', {}, "Line 1 has an infinite number in 'x'"),
    "an unknown kind": ("a.xml", "<a/>", {}, "Its kind is unknown; known are .txt, .jsonl, .json, .csv, .tsv, .parquet, and .gz of those of text."),
    "packed twice": ("a.parquet.gz", "", {}, "Its kind is unknown"),
    "no parquet": ("a.parquet", "PAR1 no", {}, "It cannot be read ("),
}  # fmt: skip


@pytest.mark.parametrize("case", LETTERS)
def test_letters(tmp_path, case):
    name, data, options, found = LETTERS[case]
    path = write(tmp_path, name, data)
    with pytest.raises(ExegeteError) as e:
        rows(path, **options)
    assert e.value.asked == f"You asked to read rows from {str(path)!r}."
    assert found in e.value.found
    assert e.value.do


def test_letters_about_packed_files(tmp_path):
    whole = gzip.compress((ONE * 50).encode())
    for name, data in (("cut.jsonl.gz", whole[:-9]), ("none.jsonl.gz", b"never packed")):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(InputError, match="It cannot be unpacked"):
            rows(path, id="")


def test_letters_about_paths(tmp_path):
    with pytest.raises(InputError, match=r"It cannot be read \(No such file or directory\)\."):
        rows(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match=r"It cannot be read \(embedded null byte\)"):
        rows("a\0b")
    with pytest.raises(UsageError, match="The path is empty"):
        rows(" ")
    with pytest.raises(UsageError, match="You asked for 0 rows"):
        Source("a.txt", limit=0)
    loop = tmp_path / "loop.txt"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match="It cannot be read"):
        rows(loop)


def test_letters_about_directories(tmp_path):
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    with pytest.raises(InputError, match="The directory holds no file"):
        rows(tmp_path / "empty")
    write(tmp_path, "odd/a.txt", "fine\n")
    odd = write(tmp_path, "odd/weights.bin", "x")
    with pytest.raises(InputError) as e:
        next(Source(str(tmp_path / "odd")).rows())  # before anything is read
    assert e.value.asked == f"You asked to read rows from {str(odd)!r}."
    assert e.value.do == "Move it out of the directory, or convert it."
    for name in ("a", "b"):
        write(tmp_path, f"twice/{name}.jsonl", ONE)
    with pytest.raises(
        InputError, match=r"The id 'x' stands twice: Line 1 of a.jsonl and Line 1 of b.jsonl\."
    ):
        rows(tmp_path / "twice")
    assert [r.id for r in rows(tmp_path / "twice", id="")] == ["a.jsonl:1", "b.jsonl:1"]
    write(tmp_path, "blank/a.txt", "fine\n")
    blank = write(tmp_path, "blank/b.txt", "\n")
    with pytest.raises(InputError) as e:
        rows(tmp_path / "blank")
    assert str(blank) in e.value.asked and e.value.found == "It holds no row."
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "a.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="It cannot be read"):
        rows(tmp_path / "gone")


def test_letters_about_columns_of_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": ["a"], "image": [b"\xff\xd8"]}), path)
    with pytest.raises(
        InputError, match=r"Row 1 has a value of the kind bytes in 'image', which is no plain data"
    ):
        rows(path)
    assert fields(path, columns=()) == [{"text": "a"}]
    parquet.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, ["text", "text"]), path)
    with pytest.raises(InputError, match="The schema names the column 'text' twice"):
        rows(path)


def test_letters_about_saved_data_sets(tmp_path):
    saved(tmp_path / "s", ["a", "b"])
    whole = (tmp_path / "s" / "data-00001-of-00002.arrow").read_bytes()
    (tmp_path / "s" / "data-00001-of-00002.arrow").write_bytes(whole[:40])
    with pytest.raises(InputError, match="It cannot be read"):
        rows(tmp_path / "s")
    (tmp_path / "s" / "state.json").write_text("[]")
    with pytest.raises(InputError, match=r"Its state.json names no Arrow files"):
        rows(tmp_path / "s")


# --- real files


def test_blimp_is_what_json_says():
    path = shared_data("blimp/blimp.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        said = [json.loads(line) for line in file][:1000]
    found = rows(path, text="sentence_good", columns=("sentence_bad", "UID"), limit=1000)
    assert [r.fields for r in found] == [
        {"text": r["sentence_good"], "sentence_bad": r["sentence_bad"], "UID": r["UID"]} for r in said
    ]


def test_sst_is_what_its_lines_say():
    path = shared_data("sst/stsa.binary.dev.txt")
    assert [r["text"] for r in fields(path)] == path.read_text("utf-8").removesuffix("\n").split("\n")


@pytest.mark.parametrize("name", ["truth/cities.csv", "truthfulqa/TruthfulQA.csv"])
def test_published_tables_are_what_csv_says(name):
    path = shared_data(name)
    with open(path, encoding="utf-8-sig", newline="") as file:
        assert fields(path, text="") == list(csv.DictReader(file))


def test_winogender_by_its_ids():
    found = rows(shared_data("bias/winogender_all_sentences.tsv"), id="sentid")
    assert len(found) == 720
    assert found[0].id == "technician.customer.1.male.txt"
    assert found[0].fields["text"] == "The technician told the customer that he could pay with cash."


def test_a_directory_of_published_tables():
    path = shared_data("cloze")
    count = {}
    for row in rows(path, text=""):
        name = row.place.split(" of ")[1]
        count[name] = count.get(name, 0) + 1
    assert list(count) == sorted(p.name for p in path.iterdir())
    for name in (n for n in count if n.endswith(".tsv")):
        with open(path / name, encoding="utf-8", newline="") as file:
            assert count[name] == len(list(csv.reader(file, delimiter="\t"))) - 1, name
