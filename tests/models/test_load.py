"""Loading: by folder, pair and name; safe by default; every failure is a letter; the model is described, not changed."""

import json

import pytest
import torch

from exegete.core.errors import ModelError, UnknownName, UsageError
from exegete.models.load import _letter, load, task_of
from exegete.models.model import still
from exegete.models.tiny import tiny


@pytest.fixture
def folder(tmp_path):
    module, tokenizer = tiny("bert", "sequence")
    module.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_a_saved_folder_comes_back_with_its_task_and_numbers(folder):
    module, tokenizer = tiny("bert", "sequence")
    m = load(folder)
    assert (m.task, m.family, m.dtype) == ("sequence", "bert", torch.float32)
    ids = torch.tensor([tokenizer("a small dog")["input_ids"]])
    with torch.no_grad():
        assert torch.equal(m.module(ids).logits, module.eval()(ids).logits)
    assert m.fingerprint == load((module, tokenizer)).fingerprint


def test_the_fingerprint_moves_with_one_weight():
    m = load(tiny("gpt2"))
    before = m.fingerprint
    with torch.no_grad():
        next(m.module.parameters())[0, 0] += 1e-3
    assert m.fingerprint != before


@pytest.mark.parametrize("task", ["causal", "masked", "sequence", "token", "seq2seq"])
def test_a_module_says_what_it_does(task):
    family = {"causal": "gpt2", "seq2seq": "t5"}.get(task, "bert")
    assert task_of(tiny(family, task)[0]) == task


def test_pickled_weights_are_refused_unless_asked_for(folder):
    state = load(folder).module.state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle"):
        load(folder)
    assert load(folder, allow_pickle=True).task == "sequence"


def test_remote_code_is_refused_unless_asked_for(folder):
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "own_kind"
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('remote code ran')")
    with pytest.raises(ModelError, match="trust_remote_code"):
        load(folder)


def test_letters(tmp_path, folder):
    with pytest.raises(ModelError, match="no folder on this machine"):
        load("no-such-org/no-such-model")
    with pytest.raises(ModelError, match=r"config\.json"):
        (tmp_path / "empty").mkdir()
        load(tmp_path / "empty")
    with pytest.raises(UnknownName, match="sequence"):
        load(folder, task="sequnce")
    with pytest.raises(UsageError, match="pair"):
        load((1, 2))
    with pytest.raises(UsageError, match="neither"):
        load(3)
    with pytest.raises(UnknownName, match="embedded model"):
        load("terrarium/sentimnet")
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="could not load"):
        load(folder)


def test_still_puts_everything_back_after_an_exception():
    module, _ = tiny("bert")
    module.train()
    module.bert.encoder.layer[0].eval()
    next(module.parameters()).requires_grad_(False)
    modes = [m.training for m in module.modules()]
    flags = [p.requires_grad for p in module.parameters()]
    with pytest.raises(KeyError), still(module):
        assert not any(m.training for m in module.modules())
        assert not any(p.requires_grad for p in module.parameters())
        raise KeyError
    assert modes == [m.training for m in module.modules()]
    assert flags == [p.requires_grad for p in module.parameters()]


@pytest.mark.parametrize("name", ["nowhere", "terarium/sentment"])
def test_the_letter_about_an_unknown_model_lists_a_name_once(name):
    letter = _letter("AutoModel", name, OSError("offline")).letter()
    assert letter.count("terrarium/encoder") == 1 and letter.count("terrarium/sentiment") == 1
