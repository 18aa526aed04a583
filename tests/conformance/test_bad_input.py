"""Bad input gets a letter of three sentences, and nothing is lost: through the Python door and through the command line."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import exegete as xg
from exegete.cli import letters
from exegete.cli.main import dispatch
from exegete.core.errors import (
    BudgetError,
    ExegeteError,
    InputError,
    MissingNeed,
    ModelError,
    StoreError,
    TargetError,
    UnknownName,
    UsageError,
)
from exegete.core.store import open_result, write_atomic
from exegete.methods.contracts.attribution import AttributionMethod
from exegete.models.tiny import families, tiny
from support.saved import loaded, saved

TEXT = "the small dog saw a bird"
OCCLUSION = "occlusion"


def ask(family="bert", task="sequence", text=TEXT, method=OCCLUSION, target=None, **more):
    """The front door on a tiny model, without a trust line."""
    return xg.explain(loaded(family, task), text, method, target, trust="none", **more)


def gpt(text=TEXT, target=None, method=OCCLUSION, **more):
    return ask("gpt2", "causal", text, method, target, **more)


def masked(text, target=None):
    return ask("bert", "masked", text, OCCLUSION, target)


IDS = xg.Text(ids=(40,) * 250)
LONG = "the dog " * 400
CONTINUATION = " and the house was not good but the food was"

# what is done, the error, words that its letter holds
DOOR = {
    "empty text": (lambda: ask(text=""), InputError, "empty"),
    "blank text": (lambda: ask(text=" \n\t"), InputError, "empty"),
    "no text at all": (lambda: ask(text=[]), InputError, "empty"),
    "only special tokens": (lambda: masked("[MASK]"), InputError, "special tokens"),
    "too long": (lambda: ask(text=LONG), InputError, "reads at most 256"),
    "too long with its continuation": (lambda: gpt(IDS, CONTINUATION), TargetError, "reads at most 256"),
    "too long with its foil": (
        lambda: gpt(IDS, "a", against=CONTINUATION), TargetError, "reads at most 256",
    ),
    "half a character": (lambda: ask(text="a\ud800b"), InputError, "UTF-8"),
    "half a character in the target": (lambda: gpt(target="a\ud800"), InputError, "UTF-8"),
    "bytes": (lambda: ask(text=b"abc"), InputError, "bytes"),
    "nothing": (lambda: ask(text=None), InputError, "NoneType"),
    "a number": (lambda: ask(text=3), InputError, "int"),
    "ids beyond the vocabulary": (lambda: gpt([10**9]), InputError, "no token 1000000000"),
    "negative ids": (lambda: gpt([5, -1]), InputError, "no token -1"),
    "ids of two axes": (lambda: gpt(np.array([[4, 5]])), InputError, "ndarray"),
    "a text that is a number": (lambda: xg.Text(text=5), UsageError, "'text'"),  # type: ignore[arg-type]
    "an unknown part of a text": (lambda: xg.Text(txet="a"), UsageError, "text"),  # type: ignore[call-arg]
    "a pair without a first text": (lambda: xg.Text(ids=(5,), pair="a"), InputError, "first text"),
    "a backward span": (lambda: xg.Text(text="a b", spans=((2, 1),)), InputError, "(2, 1)"),
    "a span beyond the text": (
        lambda: ask(text=xg.Text(text="a b", spans=((0, 9),)), unit="span"), InputError, "3 characters",
    ),
    "no spans": (lambda: ask(unit="span"), InputError, "no spans"),
    "a chat without a template": (
        lambda: gpt([{"role": "user", "content": "hello"}]), InputError, "chat template",
    ),
    "a chat message without words": (
        lambda: gpt([{"role": "user", "content": None}]), UsageError, "'text'",
    ),
    "unknown unit": (lambda: ask(unit="wrod"), UnknownName, "Did you mean word"),
    "unknown method": (lambda: ask(method="lmie"), UnknownName, "lime"),
    "unknown parameter": (
        lambda: xg.IntegratedGradients(n_step=3), UsageError, "Did you mean n_steps",
    ),
    "parameter out of range": (lambda: xg.IntegratedGradients(n_steps=-1), UsageError, "greater than"),
    "unknown removal": (lambda: xg.Occlusion(removal="msk"), UsageError, "'mask'"),
    "unknown baseline": (lambda: xg.IntegratedGradients(baseline="nil"), UsageError, "'zero'"),
    "unknown scale": (lambda: xg.Target(scale="lgit"), UsageError, "'logit'"),
    "unknown kind": (lambda: xg.Target(kind="clas"), UsageError, "'class'"),
    "unknown metric": (
        lambda: xg.evaluate(loaded("bert", "sequence"), [TEXT], [OCCLUSION], ["suficiency"]),
        UnknownName, "Did you mean sufficiency",
    ),
    "no metric": (
        lambda: xg.evaluate(loaded("bert", "sequence"), [TEXT], [OCCLUSION], []), UsageError, "No metric",
    ),
    "no method": (
        lambda: xg.compare(loaded("bert", "sequence"), [TEXT], []), UsageError, "None was given",
    ),
    "unknown site": (lambda: xg.Site.parse("0.patern"), UnknownName, "pattern"),
    "site without a layer": (lambda: xg.Site.parse("pattern"), UsageError, "needs a layer"),
    "unreadable site": (lambda: xg.Site.parse("4..x"), UsageError, "Examples"),
    "unknown family": (lambda: tiny("brt"), UnknownName, "bert"),
    "unknown task": (lambda: xg.load("x", task="seqence"), UnknownName, "sequence"),
    "unknown class": (lambda: ask(target="postive"), TargetError, "Did you mean positive"),
    "class beyond the last": (lambda: ask(target=17), TargetError, "3 classes"),
    "not one token": (lambda: masked("a [MASK]", "extraordinary"), TargetError, "13 tokens"),
    "not one next token": (
        lambda: gpt(target=xg.Target(kind="next", label="extraordinary")), TargetError, "continuation",
    ),
    "a token nobody knows": (lambda: masked("a [MASK]", "日"), TargetError, "does not know"),
    "target ids beyond the vocabulary": (lambda: gpt(target=10**6), TargetError, "350 tokens"),
    "no mask": (lambda: masked(TEXT), TargetError, "no mask"),
    "no such mask": (
        lambda: masked("a [MASK]", xg.Target(position=-5)), TargetError, "mask -5",
    ),
    "no such token": (
        lambda: ask("bert", "token", target=xg.Target(position=99)), TargetError, "8 tokens",
    ),
    "generated by a classifier": (lambda: ask(target="generated"), TargetError, "sequence model"),
    "entropy with a foil": (lambda: gpt(scale="entropy", against=" a"), TargetError, "no foil"),
    "no mask token": (
        lambda: gpt(method=xg.Occlusion(removal="mask")), ModelError, "no mask token",
    ),
    "no mask token as baseline": (
        lambda: gpt(method=xg.IntegratedGradients(baseline="mask")), ModelError, "no mask token",
    ),
    "over budget": (lambda: ask(budget=1), BudgetError, "forecast"),
    "no model": (lambda: xg.load(None), UsageError, "NoneType"),
    "a name too long": (lambda: xg.load("x" * 5000), ModelError, "no folder"),
    "a name with a zero byte": (lambda: xg.load("a\0b"), ModelError, "no folder"),
    "an embedded model that is not": (lambda: xg.load("terrarium/sentimnt"), UnknownName, "sentiment"),
    "a folder that is no model": (lambda: xg.load(os.path.dirname(__file__)), ModelError, "config.json"),
    "a pair the wrong way round": (lambda: xg.load(tiny("bert")[::-1]), UsageError, "in this order"),
    "a module of another kind": (
        lambda: xg.load((torch.nn.Linear(2, 2), tiny("bert")[1]), task="sequence"), UsageError, "config",
    ),
    "a model for another task": (
        lambda: xg.load(tiny("bert", "sequence"), task="causal"), UsageError, "sequence model",
    ),
    "no such device": (lambda: xg.load("terrarium/sentiment", device="gpuu"), UsageError, "cpu"),
    "no such dtype": (lambda: xg.load("terrarium/sentiment", dtype="flaot32"), ModelError, "dtype"),
    "a head that was never trained": (
        lambda: xg.load("terrarium/sentiment", task="masked"), ModelError, "would be random",
    ),
    "a classifier of another kind": (
        lambda: xg.load("terrarium/sentiment", task="token"), UsageError, "trained as a sequence",
    ),
    "no such result": (lambda: xg.open("/nowhere/at/all.exg"), StoreError, "no such file"),
    "a folder as result": (lambda: xg.open("/"), StoreError, "not a result"),
}  # fmt: skip


def check_letter(error: ExegeteError, words: str) -> None:
    assert error.asked and error.found and error.do, error.letter()
    assert words in error.letter(), error.letter()
    assert "\n" not in error.asked + error.do, error.letter()


@pytest.mark.parametrize("case", DOOR, ids=str)
def test_the_python_door_answers_with_a_letter(case):
    do, kind, words = DOOR[case]
    with pytest.raises(ExegeteError) as caught:
        do()
    assert isinstance(caught.value, kind), caught.value
    check_letter(caught.value, words)


UNTYPED = """
import exegete as xg
from exegete.models.tiny import tiny
model = xg.load(tiny("bert", "sequence"))
for name, call in {
    "trust": lambda: xg.explain(model, "a b", "occlusion", trust="ful"),
    "scale": lambda: xg.explain(model, "a b", "occlusion", scale="lgit"),
    "method": lambda: xg.explain(model, "a b", None),
    "class": lambda: xg.explain(model, "a b", xg.Occlusion),
    "target": lambda: xg.explain(model, "a b", "occlusion", 1.5),
    "methods": lambda: xg.compare(model, "a b", "oclusion"),
}.items():
    try:
        call()
    except xg.ExegeteError as e:
        print(name, bool(e.asked and e.found and e.do), e.do)
"""


def test_what_a_type_checker_would_catch_gets_a_letter_too():
    """In a process of its own, where no run-time type checker stands before the door."""
    done = subprocess.run([sys.executable, "-c", UNTYPED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert set(said) == {"trust", "scale", "method", "class", "target", "methods"}
    assert all(words.startswith("True ") for words in said.values()), said
    assert "full" in said["trust"] and "occlusion" in said["methods"]


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "bert": saved(folder, "bert", "sequence"),
        "gpt2": saved(folder, "gpt2", "causal"),
        "masked": saved(folder, "bert", "masked"),
    }


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty working folder."""
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path / "desk"


def command(*args: str) -> int:
    """One command in this process, errors turned into letters and codes as the program does."""
    return letters.run(lambda: dispatch(list(args)))


OUT = ("--out", "r.exg", "--html", "r.html")
FAST = ("--method", "occlusion", "--trust", "fast")
# model, arguments, exit code, words in the letter
LINE = {
    "no text": ("bert", [], 2, "No text"),
    "empty text": ("bert", [""], 1, "empty"),
    "blank text": ("bert", ["  "], 1, "empty"),
    "too long": ("bert", [LONG], 1, "--truncate"),
    "missing file": ("bert", ["none.txt"], 1, "no such file"),
    "unknown method": ("bert", ["a b", "--method", "lmie"], 2, "lime"),
    "unknown flag": ("bert", ["a", "--method", "integrated_gradients", "--n-stepps", "3"], 2, "--n-steps"),
    "bad parameter": ("bert", ["a b", "--method", "integrated_gradients", "--n-steps", "-4"], 2, "n_steps"),
    "unknown removal": ("bert", ["a b", "--removal", "msk"], 2, "'mask'"),
    "unknown baseline": ("bert", ["a", "--method", "integrated_gradients", "--baseline", "x"], 2, "'zero'"),
    "unknown unit": ("bert", ["a b", "--unit", "wrod"], 2, "Did you mean word"),
    "unknown scale": ("bert", ["a b", "--scale", "lgit"], 2, "logit"),
    "unknown trust": ("bert", ["a b", "--trust", "fulll"], 2, "full"),
    "unknown class": ("bert", ["a b", "--target", "postive"], 1, "Did you mean positive"),
    "class beyond the last": ("bert", ["a b", "--target", "17"], 1, "3 classes"),
    "unknown task": ("bert", ["a b", "--task", "seqence"], 2, "sequence"),
    "wrong task": ("bert", ["a b", "--task", "causal"], 1, "would be random"),
    "unknown device": ("bert", ["a b", "--device", "gpuu"], 2, "cpu"),
    "unknown dtype": ("bert", ["a b", "--dtype", "flaot"], 1, "dtype"),
    "not one token": ("masked", ["a [MASK]", "--target", "extraordinary"], 1, "13 tokens"),
    "no mask": ("masked", ["a b"], 1, "no mask"),
    "no mask token": ("gpt2", ["a b", "--removal", "mask"], 1, "no mask token"),
    "over budget": ("bert", ["a b", "--budget", "1"], 1, "budget"),
    "zero budget": ("bert", ["a b", "--budget", "0"], 2, "budget"),
    "not a number": ("bert", ["a b", "--seed", "x"], 2, "seed"),
    "no spans": ("bert", ["a b", "--unit", "span"], 1, "no spans"),
    "no such model": ("/nowhere/model", ["a b"], 1, "no folder"),
}


@pytest.mark.parametrize("case", LINE, ids=str)
def test_the_command_line_answers_with_a_letter(case, models, desk, capsys):
    """Right exit code, three sentences on stderr, nothing on stdout, no file."""
    model, args, code, words = LINE[case]
    method = () if "--method" in args else ("--method", "occlusion")
    assert command("explain", *args, *method, "--model", models.get(model, model), *OUT) == code
    out, err = capsys.readouterr()
    assert words in err, err
    assert "Traceback" not in err and out == ""
    assert len(err.strip().splitlines()) >= 3, err
    assert list(desk.iterdir()) == []


@pytest.mark.parametrize(
    ("verb", "args", "code", "words"),
    [
        ("compare", ["a b", "--methods", "lmie"], 2, "lime"),
        ("compare", ["a b", "--methods", ","], 2, "empty"),
        ("evaluate", ["a b", "--metrics", "suficiency"], 2, "sufficiency"),
        ("compare", [LONG], 1, "reads at most"),
        ("evaluate", [LONG], 1, "reads at most"),
    ],
)
def test_compare_and_evaluate_too(verb, args, code, words, models, desk, capsys):
    methods = () if "--methods" in args else ("--methods", "occlusion")
    assert command(verb, *args, *methods, "--model", models["bert"], *OUT) == code
    out, err = capsys.readouterr()
    assert words in err and out == "" and "Traceback" not in err
    assert list(desk.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x89PNG\r\n\0\1", "0x"),
        (b"caf\xe9", "0xe9"),
        (b"a\0b", "zero byte"),
        (b"", "no text"),
        (b"\n \n", "no text"),
    ],
)
@pytest.mark.parametrize("name", ["data.txt", "data.csv", "data.jsonl", "data"])
def test_files_that_are_no_text(name, data, words, desk, capsys):
    (desk / name).write_bytes(data)
    assert command("explain", name, *FAST, *OUT) == 1
    err = capsys.readouterr().err
    assert words in err or "column" in err
    assert len(err.strip().splitlines()) == 3 and "Traceback" not in err
    assert [p.name for p in desk.iterdir()] == [name]


def test_a_byte_that_is_no_utf8_on_the_command_line(desk, capsys):
    assert command("explain", os.fsdecode(b"caf\xe9"), *FAST) == 1
    assert "0xe9" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--out", "--html"])
@pytest.mark.parametrize("where", ["none/r.exg", ".", "a-file/r.exg", "/dev/null", "x" * 300, "a\0b"])
def test_unwritable_paths_are_refused_before_any_work(flag, where, desk, capsys, monkeypatch):
    def never(*_, **__):
        raise AssertionError("work was begun")

    (desk / "a-file").write_text("")
    monkeypatch.setattr("exegete.front.load", never)
    for verb, how in (("explain", FAST), ("compare", ()), ("evaluate", ())):
        assert command(verb, "a b", *how, flag, where) == 1
        err = capsys.readouterr().err
        assert "write" in err and len(err.strip().splitlines()) == 3, err
    assert [p.name for p in desk.iterdir()] == ["a-file"]


# ---- models that cannot be explained ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", [1, -1])
@pytest.mark.parametrize(
    ("family", "task"), [("bert", "sequence"), ("gpt2", "causal"), ("bert", "masked"), ("bert", "token"), ("t5", "seq2seq")]
)  # fmt: skip
def test_nan_and_infinity_in_the_model(family, task, where, value):
    module, tokenizer = tiny(family, task)
    with torch.no_grad():
        weight = list(module.parameters())[where]
        weight.copy_(torch.full_like(weight, value))
    text = f"{TEXT} [MASK]" if task == "masked" else TEXT
    for method in (OCCLUSION, "input_x_gradient"):
        with pytest.raises(ModelError, match="NaN or infinite") as caught:
            xg.explain(xg.load((module, tokenizer)), text, method, trust="fast")
        check_letter(caught.value, "float32")


def test_a_target_that_the_model_rules_out():
    """A logit of minus infinity elsewhere is the model's business; an explained one has no explanation."""
    module, tokenizer = tiny("bert", "sequence")
    with torch.no_grad():
        module.classifier.bias[1] = -torch.inf
    model = xg.load((module, tokenizer))
    assert all(c.passed for c in xg.explain(model, TEXT, OCCLUSION, 0, trust="fast").all_checks)
    with pytest.raises(ModelError, match="infinite"):
        xg.explain(model, TEXT, OCCLUSION, 1, trust="fast")


class _Without(torch.nn.Module):
    """A module around another whose forward is spoilt."""

    def __init__(self, inner, spoil):
        super().__init__()
        self.inner, self.config, self.spoil = inner, inner.config, spoil

    def get_input_embeddings(self):
        return self.inner.get_input_embeddings()

    def forward(self, **inputs):
        return self.spoil(self.inner, inputs)


def _no_grad(inner, inputs):
    with torch.no_grad():
        return inner(**inputs)


def _inference(inner, inputs):
    with torch.inference_mode():
        return inner(**inputs)


@pytest.mark.parametrize("spoil", [_no_grad, _inference])
@pytest.mark.parametrize("method", ["input_x_gradient", "integrated_gradients", "saliency", "smoothgrad"])
def test_a_model_without_gradients(spoil, method):
    module, tokenizer = tiny("bert", "sequence")
    model = xg.load((_Without(module, spoil), tokenizer), task="sequence")
    with pytest.raises(MissingNeed) as caught:
        xg.explain(model, TEXT, method, trust="none")
    check_letter(caught.value, "needs gradients")
    assert np.isfinite(xg.explain(model, TEXT, OCCLUSION, trust="fast").total).all()


def test_a_model_without_logits():
    module, tokenizer = tiny("bert", "sequence")
    for task in ("sequence", "token"):
        model = xg.load((_Without(module, lambda inner, inputs: inner.bert(**inputs)), tokenizer), task=task)
        with pytest.raises(ModelError) as caught:
            xg.explain(model, TEXT, OCCLUSION)
        check_letter(caught.value, "no logits")


def test_logits_of_another_kind():
    module, tokenizer = tiny("bert", "token")
    model = xg.load((_Without(module, lambda inner, inputs: inner(**inputs)), tokenizer), task="sequence")
    with pytest.raises(ModelError) as caught:
        xg.explain(model, TEXT, OCCLUSION)
    check_letter(caught.value, "3 axes")


def test_a_model_that_returns_a_tuple():
    module, tokenizer = tiny("bert", "sequence")
    plain = xg.explain(xg.load((module, tokenizer)), TEXT, OCCLUSION, trust="none")
    module.config.return_dict = False
    assert np.array_equal(
        xg.explain(xg.load((module, tokenizer)), TEXT, OCCLUSION, trust="none").total, plain.total
    )


# ---- texts that are cut ------------------------------------------------------------------------------------------------


def test_truncated_when_asked_and_said_so(models, desk, capsys):
    r = ask(text=xg.Text(text=LONG, truncate=True), unit="sentence")
    assert any("cut from" in n and "256" in n for n in r.notes)
    args = ("explain", LONG, "--truncate", "--unit", "sentence", *FAST, "--model", models["bert"])
    assert command(*args) == 0
    assert "cut from" in capsys.readouterr().out


def test_generation_stops_at_the_end_of_the_context_and_says_so():
    r = xg.explain(
        loaded("gpt2", "causal"),
        xg.Text(ids=(40,) * 253),
        OCCLUSION,
        "generated",
        unit="sentence",
        trust="none",
    )
    assert len(r.outputs) <= 4
    assert any("reads no more" in n for n in r.notes) or len(r.outputs) < 4


# ---- tokenizers without a mask or pad token ------------------------------------------------------------------------------


def _bare(family, task):
    """A model whose tokenizer and configuration name no mask and no padding token."""
    module, tokenizer = tiny(family, task)
    module.config.pad_token_id = None
    tokenizer.mask_token = tokenizer.pad_token = None
    return xg.load((module, tokenizer))


@pytest.mark.parametrize(
    ("family", "task"),
    [("gpt2", "causal"), ("gpt2", "sequence"), ("llama", "sequence"), ("llama", "causal"), ("bert", "sequence"), ("t5", "seq2seq")],
)  # fmt: skip
@pytest.mark.parametrize("removal", ["auto", "delete", "unk", "mean", "zero", "resample", "mask", "pad"])
def test_without_mask_and_pad_scores_stay_right_in_batches(family, task, removal):
    """Each input alone is the truth; together they must give the same, or be refused with a letter."""
    model, method = _bare(family, task), xg.Occlusion(removal=removal)
    known = tiny(family, task)[1].unk_token is not None
    if removal in ("mask", "pad") or (removal == "unk" and not known):
        with pytest.raises(ModelError, match=f"no {removal} token"):
            xg.explain(model, TEXT, method, trust="none")
        return
    together = xg.explain(model, TEXT, method, trust="none")
    model.token_budget = 1
    alone = xg.explain(model, TEXT, method, trust="none")
    assert np.abs(together.total - alone.total).max() < 1e-5
    assert np.ptp(alone.total) > 0


@pytest.mark.parametrize("baseline", ["auto", "mask", "pad", "unk", "eos", "zero", "mean"])
@pytest.mark.parametrize(
    ("family", "task"), [("gpt2", "sequence"), ("bert", "sequence"), ("llama", "causal")]
)
def test_without_mask_and_pad_baselines(family, task, baseline):
    model = _bare(family, task)
    method = xg.IntegratedGradients(baseline=baseline, n_steps=4)
    token = (
        getattr(model.tokenizer, f"{baseline}_token", "") if baseline not in ("auto", "zero", "mean") else ""
    )
    if token is None:
        with pytest.raises(ModelError, match=f"no {baseline} token"):
            xg.explain(model, TEXT, method, trust="none")
    else:
        assert np.isfinite(xg.explain(model, TEXT, method, trust="none").total).all()


# ---- result files ------------------------------------------------------------------------------------------------------


def _broken_files(folder: Path):
    """Files that are not results, each with its name."""
    good = ask().save(folder / "good.exg")
    data = Path(good).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    body = json.loads(header["__metadata__"]["exegete"])
    arrays = {"a": np.zeros(3, dtype=np.float32)}

    def headed(name, text, number="1"):
        save_file(arrays, folder / name, metadata={"exegete": text, "format": number})

    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("hello")
    (folder / "cut").write_bytes(data[: len(data) // 2])
    (folder / "cut-short").write_bytes(data[:-3])
    (folder / "huge-header").write_bytes(b"\xff" * 64)
    save_file(arrays, folder / "weights")
    headed("newer", json.dumps(body), "99")
    headed("no-number", json.dumps(body), "one")
    headed("no-json", "{")
    headed("list", "[]")
    headed("number", "5")
    headed("no-type", "{}")
    headed("other-type", json.dumps({"__result__": "Nothing"}))
    headed("odd-type", json.dumps({"__result__": [1]}))
    headed("no-arrays", json.dumps(body))
    headed("odd-array", json.dumps({"__array__": [1]}))
    headed("missing-fields", json.dumps({"__result__": "Attribution"}))
    headed("deep", "[" * 5000 + "]" * 5000)
    Path(good).unlink()
    return sorted(p for p in folder.iterdir())


def test_broken_and_foreign_result_files(tmp_path, capsys):
    files = _broken_files(tmp_path)
    assert len(files) > 15
    for path in files:
        with pytest.raises(ExegeteError) as caught:
            open_result(path)
        e = caught.value
        assert e.asked and e.found and e.do, path
        assert command("show", str(path)) in (1, 2)
        out, err = capsys.readouterr()
        assert out == "" and "Traceback" not in err and len(err.strip().splitlines()) >= 3, path


# ---- nothing is lost ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_an_interrupted_run_leaves_no_file(error, models, desk, monkeypatch):
    def stop(*_):
        raise error("now")

    (desk / "r.exg").write_text("old")
    monkeypatch.setattr(xg.Occlusion, "attribute", stop)
    args = ("explain", "a b", *FAST, *OUT, "--model", models["bert"])
    if error is RuntimeError:
        with pytest.raises(RuntimeError):
            command(*args)
    else:
        assert command(*args) == (130 if error is KeyboardInterrupt else 1)
    assert [p.name for p in desk.iterdir()] == ["r.exg"]
    assert (desk / "r.exg").read_text() == "old"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file(step, error, tmp_path, monkeypatch):
    (tmp_path / "r").write_text("old")

    def stop(*_):
        raise error

    monkeypatch.setattr(os, step, stop)
    with pytest.raises((KeyboardInterrupt, StoreError)) as caught:
        write_atomic(tmp_path / "r", b"new")
    if isinstance(caught.value, StoreError):
        check_letter(caught.value, "No space left")
    assert [p.name for p in tmp_path.iterdir()] == ["r"]
    assert (tmp_path / "r").read_text() == "old"


def _state(module):
    hooks = [
        sum(len(getattr(m, sort)) for m in module.modules())
        for sort in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    ]
    flags = [(p.requires_grad, p.grad is None) for p in module.parameters()]
    return hooks, flags, [m.training for m in module.modules()], [type(m) for m in module.modules()]


@pytest.mark.parametrize("family", families())
def test_a_failing_method_leaves_every_family_as_found(family):
    """An exception in the middle of the third pass; also with the model in training mode."""
    module, tokenizer = tiny(family)
    module.train()
    model = xg.load((module, tokenizer))
    text = f"{TEXT} {tokenizer.mask_token}" if model.task == "masked" else TEXT
    before = {k: v.clone() for k, v in module.state_dict().items()}
    inner = [m for m in module.modules() if not list(m.children())][-1]
    calls = [0]

    def fail(*_):
        calls[0] += 1
        if calls[0] == 3:
            raise RuntimeError("injected")

    for method in (OCCLUSION, "input_x_gradient", "lrp"):
        calls[0] = 0
        handle = inner.register_forward_hook(fail)
        state = _state(module)
        with contextlib.suppress(RuntimeError, ExegeteError):
            xg.explain(model, text, method, trust="full")
        assert _state(module) == state, method
        handle.remove()
        assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items()), method


class _Leaky(AttributionMethod):
    """Leaves a hook behind; shows that the state that is compared would tell."""

    id = "leaky"

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        return 1, 0

    def attribute(self, q, units):
        q.model.module.register_forward_hook(lambda *_: None)
        raise RuntimeError("injected")


def test_the_comparison_of_states_can_fail():
    module, tokenizer = tiny("bert", "sequence")
    state = _state(module)
    with pytest.raises(RuntimeError):
        xg.explain(xg.load((module, tokenizer)), TEXT, _Leaky(), trust="none")
    assert _state(module) != state
