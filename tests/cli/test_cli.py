"""The command line against a front door that records what it is asked: flags, exit codes, letters, JSON, files."""

import io
import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
from pydantic import Field

from exegete import front
from exegete.cli import inputs, letters
from exegete.cli.main import dispatch, flags_of, main
from exegete.cli.params import Extra, bounds, flag_of, kind, split, values
from exegete.cli.progress import RichProgress
from exegete.core.errors import ExegeteError, InputError, UsageError
from exegete.core.method import Method
from exegete.core.reference import Reference
from exegete.core.registry import METHODS
from exegete.core.result import Attribution
from exegete.core.store import open_result
from exegete.core.trust import Cost
from show.show_samples import attribution, comparison, listing, metric_table


class Toy(Method):
    """Toy method for the command line. More words."""

    id = "toy_method"
    family = "toy"
    reference = Reference(authors="Nobody", year=2000, title="A toy")
    passes = "n forwards"
    n_steps: int | Literal["auto"] = Field("auto", description="number of steps")
    n_samples: int = Field(8, ge=1, le=100, description="number of samples")
    kind: Literal["a", "b"] = Field("a", description="which kind")
    paired: bool = Field(True, description="draw in pairs")
    layers: tuple[int, ...] = Field((), description="which layers")
    width: float | None = Field(None, gt=0, description="kernel width")
    seed: int = 0


class Door(SimpleNamespace):
    """A front door that remembers its calls and answers with samples."""

    def load(self, source, **options):
        self.loaded = (source, options)
        return "the model"

    def forecast(self, model, texts, method, target, **options):
        self.forecasted = len(texts)
        return Cost(forwards=7, tokens=70, seconds=getattr(self, "seconds", 0.1))

    def explain(self, model, texts, method, target, **options):
        self.asked = SimpleNamespace(texts=texts, method=method, target=target, **options)
        return [attribution(t.text) for t in texts]

    def compare(self, model, texts, methods, target, **options):
        self.asked = SimpleNamespace(texts=texts, methods=methods, target=target, **options)
        return comparison()

    def evaluate(self, model, texts, methods, metrics, target, **options):
        self.asked = SimpleNamespace(texts=texts, methods=methods, metrics=metrics, target=target, **options)
        return metric_table()

    def prove(self, model):
        return listing(self.ok)


@pytest.fixture
def door(monkeypatch):
    """The fake front door, and a registry that holds the toy method only."""
    made = Door(ok=True)
    for verb in ("load", "forecast", "explain", "compare", "evaluate", "prove"):
        monkeypatch.setattr(front, verb, getattr(made, verb))
    monkeypatch.setattr(METHODS, "_things", {"toy_method": Toy})
    monkeypatch.setattr(METHODS, "_loaded", True)
    monkeypatch.setenv("COLUMNS", "160")
    return made


def run(*args):
    """Exit code of one command, letters written as the program does."""
    return letters.run(lambda: dispatch(list(args)))


TOY = ("--method", "toy-method")


def test_a_text_is_explained_and_printed(door, capsys):
    assert run("explain", "The food was good", *TOY) == 0
    out, err = capsys.readouterr()
    assert "Why positive?" in out and "Trust" in out
    assert err == ""
    assert [t.text for t in door.asked.texts] == ["The food was good"]
    assert door.loaded[0] == "terrarium/sentiment"
    assert door.loaded[1]["trust_remote_code"] is False and door.loaded[1]["allow_pickle"] is False


def test_unquoted_words_are_one_text(door, capsys):
    assert run("explain", *TOY, "the", "food") == 0
    assert door.asked.texts[0].text == "the food"


def test_flags_reach_the_front_door(door, capsys):
    args = [
        "--target",
        "negative",
        "--against",
        "positive",
        "--scale",
        "prob",
        "--unit",
        "token",
        "--trust",
        "fast",
    ]
    more = ["--budget", "99", "--seed", "5", "--truncate", "--prefix", "--model", "m", "--task", "causal"]
    assert run("explain", "a b", *TOY, *args, *more) == 0
    asked = door.asked
    assert (asked.target.label, asked.target.against, asked.target.scale) == ("negative", "positive", "prob")
    assert (asked.unit, asked.trust, asked.budget, asked.seed, asked.prefix) == ("token", "fast", 99, 5, True)
    assert asked.texts[0].truncate and asked.method.seed == 5
    assert door.loaded[0] == "m" and door.loaded[1]["task"] == "causal"


def test_method_parameters_are_flags(door, capsys):
    flags = [
        "--n-steps",
        "64",
        "--n-samples=9",
        "--kind",
        "b",
        "--no-paired",
        "--layers",
        "1,2",
        "--width",
        "0.5",
    ]
    assert run("explain", *flags, "some text", *TOY) == 0
    assert door.asked.method == Toy(n_steps=64, n_samples=9, kind="b", paired=False, layers=(1, 2), width=0.5)
    assert door.asked.texts[0].text == "some text"


@pytest.mark.parametrize("switch", [["--paired", "true"], ["--paired"], ["--paired=true"]])
def test_switches(door, capsys, switch):
    assert run("explain", "a", *TOY, *switch) == 0
    assert door.asked.method.paired is True


def test_a_switch_does_not_swallow_the_text(door, capsys):
    assert run("explain", *TOY, "--paired", "the food") == 0
    assert door.asked.texts[0].text == "the food"


def test_negative_values_and_dashes(door, capsys):
    assert split(["--width", "-0.5", "--", "--odd"], {})[1].pairs == (("--width", "-0.5"),)
    assert run("explain", *TOY, "--", "--strange text") == 0
    assert door.asked.texts[0].text == "--strange text"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--n-stpes", "4"], ["'--n-stpes'", "toy_method", "--n-steps"]),
        (["--methd", "toy"], ["'--methd'", "--method"]),
        (["--n-samples", "0"], ["'n_samples'", "greater than or equal to 1", "number of samples"]),
        (["--n-samples", "x"], ["'n_samples'", "'x'"]),
        (["--kind", "c"], ["'kind'", "'a' or 'b'"]),
        (["--n-samples"], ["needs a value", "number of samples"]),
        (["--scale", "probs"], ["scale 'probs'", "Did you mean prob"]),
        (["--unit", "words"], ["unit 'words'", "Did you mean word"]),
        (["--trust", "ful"], ["trust 'ful'", "full"]),
        (["--method", "toi"], ["method 'toi'", "toy_method"]),
        (["--budget", "0"], ["exegete explain", "--help"]),
    ],
)
def test_usage_errors_are_letters(door, capsys, args, words):
    assert run("explain", "a text", *(() if "--method" in args else TOY), *args) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    for word in words:
        assert word in err, err
    assert not hasattr(door, "loaded")  # refused before any work


def test_other_verbs_refuse_unknown_flags(door, capsys):
    assert run("compare", "a", "--metods", "x") == 2
    assert "--methods" in capsys.readouterr().err
    assert run("explian") == 2
    assert "explain" in capsys.readouterr().err


def test_no_text(door, capsys):
    assert run("explain", *TOY) == 2
    assert "No text was given" in capsys.readouterr().err
    assert run("explain", "  ", *TOY) == 1
    assert "The text is empty" in capsys.readouterr().err


def test_json_is_the_whole_of_stdout(door, capsys):
    door.seconds = 60
    assert run("explain", "a b", *TOY, "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == attribution("a b").to_dict()
    assert "Forecast: 7 forwards" in err


def test_json_of_a_file_is_an_array(door, capsys, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("only one line\n", encoding="utf-8")
    assert run("explain", str(file), *TOY, "--json") == 0
    assert [r["text"] for r in json.loads(capsys.readouterr().out)] == ["only one line"]


def test_a_short_job_has_no_forecast(door, capsys):
    run("explain", "a", *TOY)
    assert "Forecast" not in capsys.readouterr().err


def test_the_forecast_of_a_long_file_is_from_a_few_texts(door, capsys, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(f"text {i}" for i in range(40)), encoding="utf-8")
    door.seconds = 1.0
    assert run("explain", str(file), *TOY, "--json") == 0
    assert door.forecasted == 4
    assert "from 4 of 40 texts" in capsys.readouterr().err


def test_files_are_saved_and_open_again(door, capsys, tmp_path):
    out, html = tmp_path / "r.exg", tmp_path / "r.html"
    assert run("explain", "a b", *TOY, "--out", str(out), "--html", str(html)) == 0
    assert open_result(out) == attribution("a b")
    assert html.read_text(encoding="utf-8").startswith("<!doctype html>")
    capsys.readouterr()
    assert run("show", str(out), "--json") == 0
    assert json.loads(capsys.readouterr().out)["text"] == "a b"
    assert run("show", str(out)) == 0
    assert "Why positive?" in capsys.readouterr().out


def test_several_texts_get_several_files_and_one_page(door, capsys, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("one\n\ntwo\n", encoding="utf-8")
    assert (
        run("explain", str(file), *TOY, "--out", str(tmp_path / "r.exg"), "--html", str(tmp_path / "r.html"))
        == 0
    )
    assert sorted(p.name for p in tmp_path.glob("*.exg")) == ["r-1.exg", "r-2.exg"]
    assert (tmp_path / "r.html").read_text(encoding="utf-8").count("<article") == 2


@pytest.mark.parametrize("flag", ["--out", "--html"])
def test_an_unwritable_path_is_refused_before_work(door, capsys, tmp_path, flag):
    assert run("explain", "a", *TOY, flag, str(tmp_path / "no" / "r.exg")) == 1
    assert "does not exist" in capsys.readouterr().err
    assert not hasattr(door, "loaded")


def test_one_name_for_two_files_is_refused(door, capsys, tmp_path):
    name = str(tmp_path / "x")
    assert run("explain", "a", *TOY, "--out", name, "--html", name) == 2


def test_open_uses_the_browser(door, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda uri: opened.append(uri) or True)
    assert run("explain", "a", *TOY, "--open") == 0
    assert opened[0].startswith("file:///")


def test_compare_and_evaluate(door, capsys, tmp_path):
    assert run("compare", "a b", "--methods", "x, y-z", "--target", "negative") == 0
    assert door.asked.methods == ["x", "y_z"] and door.asked.target.label == "negative"
    assert run("compare", "a b") == 0
    assert door.asked.methods == front.DEFAULT_METHODS
    assert run("evaluate", "a b", "--metrics", "m", "--json") == 0
    assert door.asked.metrics == ["m"]
    assert run("compare", "a", "--methods", ",") == 2


def test_prove_fails_with_the_proof(door, capsys):
    assert run("prove", "m") == 0
    door.ok = False
    assert run("prove", "m") == 1
    assert "NOT ok" in capsys.readouterr().out
    assert run("prove") == 2
    assert run("prove", "m", "--all-families") == 2


def test_list(door, capsys):
    assert run("list", "methods") == 0
    assert "Toy method for the command line." in capsys.readouterr().out
    assert run("list", "methods", "toy-method") == 0
    out = capsys.readouterr().out
    for words in (
        "--n-samples",
        ">= 1, <= 100",
        "int | auto",
        "a | b",
        "Nobody (2000)",
        "n forwards",
        "number of steps",
    ):
        assert words in out, words
    assert run("explain", *TOY, "--help-method") == 0
    assert "--n-samples" in capsys.readouterr().out
    assert run("list", "methods", "tooy_method") == 2
    assert run("list", "models", "x") == 2
    assert run("list", "methods", "--coverage") == 2
    for wrong, said in (
        ("toy-method", "list methods toy_method"),
        ("lens", "list methods lens"),
        ("metod", "methods"),
    ):
        capsys.readouterr()
        assert run("list", wrong) == 2
        told = capsys.readouterr().err
        assert said in told and "Value error" not in told
    assert run("list", "techniques", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 319


def test_interrupts_and_failures(door, capsys, monkeypatch):
    def boom(error):
        def work(*_, **__):
            raise error

        return work

    monkeypatch.setattr(front, "explain", boom(KeyboardInterrupt()))
    assert run("explain", "a", *TOY) == 130
    assert "Stopped" in capsys.readouterr().err
    monkeypatch.setattr(front, "explain", boom(ExegeteError("A.", "B.", "C.")))
    assert run("explain", "a", *TOY) == 1
    assert capsys.readouterr().err == "A.\nB.\nC.\n"


def test_main_leaves_with_the_code(door, capsys):
    with pytest.raises(SystemExit) as left:
        main(["show", "/no/such/file"])
    assert left.value.code == 1
    with pytest.raises(ExegeteError):
        main(["show", "/no/such/file", "--debug"])


def test_unexpected_errors_are_told_shortly(capsys):
    letters.unexpected(ValueError, ValueError("odd"), None)
    err = capsys.readouterr().err
    assert "ValueError: odd" in err and "--debug" in err


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.txt", b"one\r\n\n two \n", ("one", " two ")),
        ("a.jsonl", b'{"text": "one"}\n\n{"text": "two", "x": 1}\n', ("one", "two")),
        ("a.json", b'[{"text": "one"},\n "two"]', ("one", "two")),
        ("a.csv", b'id,text\n1,"one, 1"\n2,two\n', ("one, 1", "two")),
        ("bom.txt", b"\xef\xbb\xbfone", ("one",)),
        ("noext", b"one\ntwo", ("one", "two")),
    ],
)
def test_files_are_read(tmp_path, name, content, texts):
    file = tmp_path / name
    file.write_bytes(content)
    assert inputs.given([str(file)], "explain") == inputs.Given(texts, True)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"good\n\xff\xfe", ["Byte 5 (line 2) is 0xff", "not valid UTF-8"]),
        ("a.txt", "good".encode("utf-16"), ["UTF-16, not UTF-8", "iconv -f utf-16 -t utf-8"]),
        ("a.txt", b"\xfe\xff\0g", ["UTF-16, not UTF-8"]),
        ("a.txt", b"ab\x00c", ["Byte 2 (line 1) is 0x00", "binary"]),
        ("a.txt", b"\n\n", ["holds no text"]),
        ("a.jsonl", b'{"text": "a"}\n{bad', ["Line 2 is not JSON"]),
        ("a.jsonl", b'{"txt": "a"}', ["Line 1 has no field 'text'", "txt"]),
        ("a.jsonl", b"[1]", ["it has a list"]),
        ("a.json", b'["a",\n{bad', ["Line 2 is not JSON"]),
        ("a.json", b'["a", 1]', ["Object 2 has no field 'text'", "it has a number"]),
        ("a.json", b'{"text": "a"}', ["the fields text, no list"]),
        ("a.csv", b"a,b\n1,2\n", ["no column 'text'", "a, b"]),
        ("a.csv", b'text\n""\nx\n', ["Text 1 of 2 is empty"]),
    ],
)
def test_bad_files_get_a_letter(tmp_path, name, content, words):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        inputs.given([str(file)], "explain")
    for word in words:
        assert word in str(caught.value)


def test_a_missing_file_and_a_bad_argument(monkeypatch):
    with pytest.raises(InputError, match="There is no such file"):
        inputs.given(["reviews.txt"], "explain")
    with pytest.raises(InputError, match="There is no such file"):
        inputs.given(["reviews.json"], "explain")
    with pytest.raises(InputError, match="0xff"):
        inputs.given(["good \udcff"], "explain")
    assert inputs.given(["See notes.txt for more"], "explain").texts == ("See notes.txt for more",)
    assert inputs.given(["x" * 5000], "explain").texts == ("x" * 5000,)


def test_the_name_of_a_model_is_no_text(tmp_path):
    """`exegete prove MODEL` takes it as a word; everywhere else it is a flag."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "corpora").mkdir()
    for word, said in (
        ("terrarium/encoder", "exegete neurons --model terrarium/encoder"),
        ("terrarium/encodr", "are models"),
        (str(tmp_path), f"exegete neurons --model {tmp_path}"),
        (str(tmp_path / "corpora"), "a folder, neither a text nor a file"),
    ):
        with pytest.raises(UsageError) as told:
            inputs.given([word], "neurons")
        assert said in told.value.letter()
    assert inputs.given(["terrarium/ is a prefix"], "neurons").texts == ("terrarium/ is a prefix",)
    assert inputs.given(["and/or"], "neurons").texts == ("and/or",)


@pytest.mark.parametrize("name", ["a.tsv", "a.conllu", "a.jsonl.gz"])
def test_the_syntax_of_another_kind_of_file_is_not_taken_for_texts(tmp_path, name):
    (tmp_path / name).write_text('[\n{"text": "the food was good"}\n]\n')
    with pytest.raises(InputError, match="holds no text a line"):
        inputs.given([str(tmp_path / name)], "neurons")


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"one\ntwo\n")))
    assert inputs.given(["-"], "explain") == inputs.Given(("one", "two"), True)


def test_progress_shows_only_long_work():
    now, out = [0.0], io.StringIO()
    from rich.console import Console

    progress = RichProgress(Console(file=out), clock=lambda: now[0])
    progress.start(10, "explaining")
    progress.advance()
    assert out.getvalue() == ""
    for at in (1.5, 2.0, 12.0):
        now[0] = at
        progress.advance()
    progress.stop()
    assert out.getvalue() == "explaining: 2 of 10\nexplaining: 4 of 10\n"
    progress.start(4, "probing")
    for _ in range(4):  # what was begun to be told is told to its end
        now[0] += 2
        progress.advance()
    progress.stop()
    assert out.getvalue().endswith("probing: 1 of 4\nprobing: 4 of 4\n")
    said = out.getvalue()
    progress.start(1, "quick")  # but a piece of work that was silent stays so
    now[0] += 9
    progress.advance()
    assert out.getvalue() == said
    tty = io.StringIO()
    progress = RichProgress(Console(file=tty, force_terminal=True, width=80), clock=lambda: now[0])
    progress.start(2, "explaining")
    now[0] += 2
    progress.advance()
    progress.stop()
    assert "explaining" in tty.getvalue()


def test_a_terminal_shows_that_something_goes_on_where_no_steps_are_known():
    from rich.console import Console

    tty, now = io.StringIO(), [0.0]
    with RichProgress(Console(file=tty, force_terminal=True, width=80), clock=lambda: now[0]) as progress:
        assert "loading" in tty.getvalue()
        progress.start(3, "reading")
        now[0] += 2
        progress.advance()
        progress.stop()
    assert all(words in tty.getvalue() for words in ("reading", "1/3", "working"))
    assert tty.getvalue().endswith("\x1b[2K")  # nothing is left standing
    plain = io.StringIO()
    with RichProgress(Console(file=plain)) as progress:
        progress.start(1, "reading")
    assert plain.getvalue() == ""


def test_types_and_ranges_in_words():
    fields = Toy.model_fields
    assert kind(fields["width"].annotation) == "float | none"
    assert kind(fields["layers"].annotation) == "list"
    assert bounds(fields["width"]) == "> 0"
    assert values(Extra((("--width", "none"),)), Toy, "explain")[0] == {"width": None}
    with pytest.raises(UsageError):
        values(Extra((("--zzz", "1"),)), Toy, "explain")


START = """
import sys
from exegete.cli.main import dispatch
dispatch([])
heavy = {"torch", "transformers", "sklearn", "numpy", "pydantic", "jinja2"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_loads_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for words in ("exegete explain", "exegete compare", "exegete list methods"):
        assert words in done.stdout


def test_show_needs_no_torch(tmp_path):
    path = attribution().save(str(tmp_path / "r.exg"))
    code = f"""
import sys
from exegete.cli.main import dispatch
assert dispatch(["show", {path!r}]) == 0
assert not {{"torch", "transformers"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version(capsys):
    import exegete

    assert dispatch(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"exegete {exegete.__version__}"


def test_every_parameter_of_every_real_method_has_a_flag():
    """Also those whose name is that of an option of `explain`; `seed` is meant: one seed for everything."""
    options = flags_of("explain")
    for _, method in METHODS:
        for field in method.model_fields:
            flag = flag_of(field, options)
            own, extra = split([flag, "0"], options)
            assert field == "seed" or own == [] or own == ["0"], flag
            assert field == "seed" or field in values(extra, method, "explain")[0], flag


def test_a_parameter_named_like_an_option_is_reached(door, capsys):
    class Clash(Toy):
        unit: int = 0

    assert flag_of("unit", flags_of("explain")) == "--method-unit"
    assert values(Extra((("--method-unit", "3"),)), Clash, "explain")[0] == {"unit": "3"}


def test_the_recorder_returns_attributions(door):
    assert isinstance(door.explain(None, [SimpleNamespace(text="a")], None, None)[0], Attribution)
    assert np.isfinite(attribution("a").total).all()
