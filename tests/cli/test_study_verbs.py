"""The verbs of studies: words and flags become the request, letters say what does not fit, findings go where they should."""

import json

import pytest

from exegete.cli.ask import task_of
from exegete.cli.main import dispatch
from exegete.cli.material import Asked, request
from exegete.cli.params import EXTRA, WITH_METHOD, Extra, values
from exegete.core.errors import InputError, UnknownName, UsageError
from exegete.core.material import Fact, Marked, Minimal, Pair
from exegete.core.registry import METHODS
from exegete.core.store import open_result
from exegete.methods.contracts.study import Study


class Asking:
    """A study as far as its request goes."""

    id = "asking"

    def __init__(self, asks: str) -> None:
        self.asks, self.kind = asks, ""

    def brings(self):
        """It brings no material of its own."""
        return


def ask(kind: str, *words: str, **flags):
    return request(Asking(kind), Asked(words=words, verb="patch", model=flags.pop("model", "mine"), **flags))


def test_every_verb_has_studies_and_a_default():
    used = {cls.verb for _, cls in METHODS if issubclass(cls, Study)}
    assert used <= set(WITH_METHOD) - {"explain"}


def test_pairs_from_words_flags_and_files(tmp_path):
    made = ask("pairs", "mary", "gave", corrupt="john gave", target="a", against="b")
    assert made == Pair.of("mary gave", "john gave", "a", "b")
    assert ask("pairs", "mary gave", "john gave") == Pair.of("mary gave", "john gave")
    path = tmp_path / "p.jsonl"
    path.write_text('{"clean": "a b", "corrupt": "c b", "answer": "x", "more": 1}\n\n{"clean": "d"}\n')
    assert ask("pairs", str(path)) == [Pair.of("a b", "c b", "x"), Pair.of("d")]
    whole = tmp_path / "p.json"
    whole.write_text('[{"clean": "a b", "corrupt": "c b", "answer": "x", "more": 1},\n {"clean": "d"}]')
    assert ask("pairs", str(whole)) == ask("pairs", str(path))
    table = tmp_path / "p.csv"
    table.write_text("clean,corrupt,answer\na b,c b,x\nd,,\n")
    assert ask("pairs", str(table)) == ask("pairs", str(path))


def test_a_file_is_never_taken_for_the_text_of_a_pair(tmp_path):
    with pytest.raises(InputError, match=r"pairs from '.*none\.json'(.|\n)*No such file"):
        ask("pairs", str(tmp_path / "none.json"))
    other = tmp_path / "p.txt"
    other.write_text("a b")
    with pytest.raises(UsageError, match=r"read from \.jsonl, \.json, \.csv"):
        ask("pairs", str(other))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "a", "label": 1}, "Object 2 has no field 'clean'; its fields are text, label."),
        ({"clean": 3}, "Object 2 has 3 in 'clean', where a text is wanted."),
        ({"clean": "a", "answer": ["x"]}, "Object 2 has [\"x\"] in 'answer', where a word"),
    ],
)
def test_the_letter_about_a_row_names_the_field_and_gives_an_example(tmp_path, row, said):
    path = tmp_path / "p.json"
    path.write_text(json.dumps([{"clean": "a"}, row]))
    with pytest.raises(InputError) as told:
        ask("pairs", str(path))
    letter = told.value.letter()
    assert said in letter and "Needed: clean. Allowed beside: corrupt, answer, against" in letter
    assert (
        Pair.of(*(example := json.loads(letter.split("A row such as ")[1])).values()).answer
        == example["answer"]
    )
    assert not any(word in letter for word in ("You set", "Field required", "help(", ".."))


def test_facts_from_words_and_files(tmp_path):
    fact = ask("facts", "mary lives in", subject="mary", target="paris", new="rome")
    assert fact == Fact(prompt="mary lives in", subject="mary", answer="paris", new="rome")
    path = tmp_path / "f.jsonl"
    path.write_text(
        json.dumps(
            {"prompt": "mary lives in", "subject": "mary", "answer": "x", "paraphrases": ["mary's town is"]}
        )
    )
    assert ask("facts", str(path))[0].paraphrases == ("mary's town is",)


def test_trees_from_a_file(tmp_path):
    path = tmp_path / "t.conllu"
    path.write_text("1\tYes\t_\t_\t_\t_\t0\troot\t_\t_\n")
    assert ask("trees", str(path))[0].words == ("Yes",)


def test_facts_of_lama_keep_their_blank_for_cloze_alone(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text('{"sub_label": "Dante", "obj_label": "Florence", "template": "[X] was born in [Y] ."}\n')
    asked = {"words": (str(path),), "model": "mine"}
    assert request(Asking("facts"), Asked(**asked, verb="cloze"))[0].prompt == "Dante was born in [MASK] ."
    assert request(Asking("facts"), Asked(**asked, verb="trace"))[0].prompt == "Dante was born in"


def test_facts_of_a_table_and_letters_about_its_columns(tmp_path):
    path = tmp_path / "f.json"
    path.write_text(
        '[{"prompt": "mary lives in", "subject": "mary", "attribute": "paris", "relation_id": "P1"}]'
    )
    assert ask("facts", str(path)) == [
        Fact(prompt="mary lives in", subject="mary", answer="paris", relation="P1")
    ]
    table = tmp_path / "f.tsv"
    table.write_text("item\tcontext\ttarget\n1\ta trout is a\tfish\n")
    with pytest.raises(
        InputError, match="no fields 'prompt', 'subject', 'answer'; its fields are item, context, target"
    ):
        ask("facts", str(table))


def test_minimal_pairs_from_words_and_files(tmp_path, capsys):
    assert ask("minimal", "the dogs run", "the dogs runs") == Minimal(
        good="the dogs run", bad="the dogs runs"
    )
    path = tmp_path / "p.jsonl"
    path.write_text('{"good": "a", "bad": "b"}\n{"good": "c", "bad": "c"}\n')
    assert ask("minimal", str(path)) == [Minimal(good="a", bad="b")]
    assert "left out (first: line 2)" in capsys.readouterr().err


def test_labelled_texts_from_files(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("said,kind\nit was good,1\n")
    flags = {"text_column": "said", "label_column": "kind"}
    assert ask("marked", str(path), **flags) == [Marked.of("it was good", "1")]
    numbers = Asking("marked")
    numbers.kind = "number"
    asked = Asked(words=(str(path),), verb="probe", model="mine", **flags)
    assert request(numbers, asked) == [Marked.of("it was good", 1.0)]
    together = tmp_path / "g.csv"
    together.write_text("said,kind,city\nit was good,1,Rome\n")
    assert ask("marked", str(together), **flags, group_column="city")[0].group == "Rome"
    assert ask("marked", str(together), **flags)[0].group == ""
    with pytest.raises(InputError, match="town"):
        ask("marked", str(together), **flags, group_column="town")
    tree = tmp_path / "t.conllu"
    tree.write_text("1\tYes\t_\tINTJ\t_\t_\t0\troot\t_\t_\n")
    assert ask("marked", str(tree))[0].tags == ("INTJ",)
    line = tmp_path / "t.jsonl"
    line.write_text('{"text": "a b c", "targets": [{"span1": [0, 1], "label": "x"}]}\n')
    assert ask("marked", str(line), spans="word")[0].words == ("a",)
    with pytest.raises(UnknownName, match="unit of spans"):
        ask("marked", str(line), spans="words")


def test_nothing_given_means_the_terrariums_own_for_its_models_only():
    assert ask("texts", model="terrarium/decoder") is None
    with pytest.raises(UsageError, match="fits only the embedded models"):
        ask("texts")


@pytest.mark.parametrize(
    ("kind", "words", "flags", "said"),
    [
        ("texts", ("a",), {"corrupt": "b"}, "--corrupt"),
        ("pairs", ("a",), {"subject": "b"}, "--subject"),
        ("nothing", ("a",), {}, "at no text"),
        ("facts", ("a b",), {"subject": "a"}, "--target"),
        ("trees", ("a b",), {}, "treebank"),
        ("marked", ("the food was good",), {}, "from a file"),
        ("minimal", ("the dogs run",), {}, "two sentences"),
        ("texts", ("a",), {"text_column": "b"}, "--text-column"),
        ("pairs", ("a",), {"spans": "word"}, "--spans"),
    ],
)
def test_flags_that_do_not_fit_get_a_letter(kind, words, flags, said):
    with pytest.raises(UsageError, match=said):
        ask(kind, *words, **flags)


@pytest.mark.parametrize("kind", ["marked", "trees", "minimal", "facts", "pairs", "texts", "nothing"])
def test_the_name_of_a_model_is_no_material(kind):
    with pytest.raises(UsageError, match="exegete patch --model terrarium/encoder"):
        ask(kind, "terrarium/encoder")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"clean": ', "Line 2 is not JSON"),
        ('{"text": "a"}', "Line 2 has no field 'clean'"),
        ("[1]", "a list"),
        ('{"clean": {"x": 1}}', "Line 2 has .* in 'clean', where a text is wanted"),
    ],
)
def test_lines_that_do_not_fit_are_named(tmp_path, line, said):
    path = tmp_path / "p.jsonl"
    path.write_text('{"clean": "a"}\n' + line + "\n")
    with pytest.raises(InputError, match=said):
        ask("pairs", str(path))


def test_an_empty_file_and_a_missing_one(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text("\n")
    with pytest.raises(InputError, match="no row"):
        ask("pairs", str(path))
    with pytest.raises(InputError, match="cannot be read"):
        ask("facts", str(tmp_path / "none.jsonl"))


def test_a_study_is_made_saved_and_printed(tmp_path, capsys):
    out, html = tmp_path / "r.exg", tmp_path / "r.html"
    code = dispatch(["lens", "mary went to the market", "--out", str(out), "--html", str(html), "--json"])
    assert code == 0
    data = json.loads(capsys.readouterr().out)
    assert data["type"] == open_result(out).type == "LensGrid"
    assert "<html" in html.read_text()


def test_a_method_of_another_verb_is_sent_there():
    with pytest.raises(UsageError, match="exegete explain --method occlusion"):
        dispatch(["lens", "x", "--method", "occlusion"])


def test_a_study_cannot_explain_words():
    with pytest.raises((UsageError, UnknownName), match="lens"):
        dispatch(["explain", "x", "--method", "logit_lens"])


def test_parameters_of_the_method_are_flags(capsys):
    assert dispatch(["patch", "the food was good", "--method", "layer_removal", "--no-swap"]) == 0
    assert "swapped with the next" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--swap"):
        dispatch(["patch", "x", "--method", "layer_removal", "--swapp"])


def test_a_task_of_the_method_is_handed_on_and_one_of_the_model_kept():
    for task, model_task, fields in (
        ("feature:Number", None, {"task": "feature:Number"}),
        ("masked", "masked", {}),
        (None, None, {}),
    ):
        EXTRA.set(Extra())
        assert task_of(task, "layer_probe") == model_task
        assert values(EXTRA.get(), METHODS.get("layer_probe"), "probe") == (fields, [])
    EXTRA.set(Extra())  # a method without tasks: the model refuses it
    assert task_of("feature:Number", "minimal_pairs") == "feature:Number"


def test_only_graphs_are_exported(tmp_path):
    with pytest.raises(UnknownName, match="graphml"):
        dispatch(["lens", "x", "--export", "a.png"])
    with pytest.raises(UsageError, match="holds no graph"):
        dispatch(["lens", "the food", "--export", str(tmp_path / "a.json")])


def test_methods_of_a_verb_are_listed(capsys):
    assert dispatch(["list", "methods", "lens"]) == 0
    shown = capsys.readouterr().out
    assert "logit_lens" in shown
    assert "occlusion" not in shown
