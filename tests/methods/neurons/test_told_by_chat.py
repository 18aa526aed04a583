"""Descriptions by a language model on planted units: right answers score high, swapped ones low, unreadable ones are counted."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exegete.core.errors import BudgetError
from exegete.core.request import Text
from exegete.core.results.neuron_description import NeuronDescriptions
from exegete.methods.neurons import neuron_description
from exegete.methods.neurons.neuron_description import NeuronDescription
from exegete.methods.neurons.told_by_chat import LENGTH, picked
from exegete.methods.neurons.unit_texts import Read
from exegete.models.chat.base import Alternative, Ask, Chat, ChatError, Reply
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.tiny import tiny

PLANTED = {3: 43, 5: 51}  # unit: the token, a letter, that it fires on


@pytest.fixture(scope="module")
def model() -> Model:
    """Units 3 and 5 of layer 0 fire on one token each: their keys are what the embeddings are after the norm."""
    found = load(tiny("gpt2"))
    module: Any = found.module
    block = module.transformer.h[0]
    with torch.no_grad():
        for p in (*block.attn.parameters(), module.transformer.wpe.weight):
            p.zero_()
        for unit, word in PLANTED.items():
            key = block.ln_2(module.transformer.wte.weight[word])
            block.mlp.c_fc.weight[:, unit] = key
            block.mlp.c_fc.bias[unit] = -0.9 * key @ key
    return found


def texts(n: int = 40) -> list[Text]:
    rng = np.random.default_rng(0)
    return [Text(ids=tuple(int(i) for i in rng.integers(36, 60, int(rng.integers(4, 9))))) for _ in range(n)]


def study(writer: str, **more: Any) -> NeuronDescription:
    return NeuronDescription(layers=(0,), units=tuple(PLANTED), writer=writer, n_judged=12, **more)


class Knower(Chat):
    """Finds the token that has [10], and judges by it alone. `held` are its answers, for a script."""

    name = "one who knows"

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[str, str]] = []

    @property
    def identity(self) -> str:
        return "one who knows"

    def _say(self, ask: Ask) -> Reply:
        question = ask.messages[-1].content
        said = self.answered(question)
        self.held.append((question, said))
        return Reply(text=said)

    def answered(self, question: str) -> str:
        if question.startswith("Texts,"):
            return "the token " + re.findall(r"(\S+)\[10\]", question)[0]
        word = re.findall(r"fires on: the token (\S+)", question)[0]
        if "How strongly" in question:
            rows = re.findall(r"(?m)^(\d+)\. (.*)$", question)
            return "\n".join(f"{n}. {10 if t == word else 0}" for n, t in rows)
        if "Which one?" in question:
            rows = re.findall(r"(?m)^Text (\d+): (.*)$", question)
            return next((n for n, t in rows if word not in t.split()), "none")
        text = re.findall(r"(?m)^Text: (.*)$", question)[0]
        if "<<" in text:
            return "Yes." if f"<<{word}>>" in text else "No."
        return "Yes." if word in text.split() else "No."


def told_by(chat: Chat, model: Model, monkeypatch: pytest.MonkeyPatch, **more: Any) -> NeuronDescriptions:
    monkeypatch.setattr(neuron_description, "chat", lambda spec: chat)
    found = study("script:none", **more)(model, texts())
    assert isinstance(found, NeuronDescriptions)
    return found


def script(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return f"script:{path}"


def mine(found: NeuronDescriptions) -> tuple[Any, ...]:
    return tuple(s for s in found.trust.scores if ", by " in s.name)


def test_right_answers_score_high_and_swapped_low_and_a_script_replays_them(model, monkeypatch, tmp_path):
    knower = Knower()
    found = told_by(knower, model, monkeypatch)
    for (unit, word), u in zip(PLANTED.items(), found.told):
        assert u.name.endswith(f"[u{unit}]") and u.words == f"the token {model.tokenizer.decode([word])}"
        assert u.own[:4].min() > 0.9
        assert u.swapped[0] < 0.3 and u.swapped[1:3].max() <= 0.75 and u.swapped[3] <= 2 / 3
    assert all(s.beats_chance and s.beats_control and s.n_failed == 0 for s in mine(found)[:4])
    assert all(np.isfinite(u.own[4]) for u in found.told) and mine(found)[4].n == 2
    assert len(found.to_frame()) == 4  # both writers of both units
    asked = dict(found.context)["Language model"]
    most = int(re.findall(r"at most (\d+) calls", asked)[0])
    assert most == len(knower.held) == 2 + sum(found.asked)
    monkeypatch.undo()
    again = study(script(tmp_path / "s.jsonl", [{"when": q, "say": a} for q, a in knower.held]))(
        model, texts()
    )
    assert again.told == found.told and again.units == found.units


def test_both_writers_are_judged_on_the_same_texts(model, monkeypatch):
    found = told_by(Knower(), model, monkeypatch)
    assert found.n_test == 12
    assert all(np.isfinite(u.own).all() for u in (*found.units, *found.told))


class Other(Knower):
    """Describes every unit by a token that it does not fire on."""

    def answered(self, question: str) -> str:
        return "the token nothing" if question.startswith("Texts,") else super().answered(question)


def test_wrong_descriptions_do_not_beat_their_control(model, monkeypatch):
    found = told_by(Other(), model, monkeypatch)
    for u in found.told:
        assert u.own.tolist() == [
            0.0,
            0.5,
            0.5,
            u.swapped[3],
            u.swapped[4],  # all are the same words
        ]  # of three texts without the word it names the first
    assert not any(s.beats_control for s in mine(found))
    assert (
        "do not beat chance and the swapped descriptions in simulation, detection, fuzzing, intruder, embedding"
        in found.lede
    )


def test_prose_is_counted_and_not_scored(model, tmp_path):
    found = study(script(tmp_path / "s.jsonl", [{"say": "It depends."}] * 400))(model, texts())
    simulated, *yes = mine(found)
    assert np.isnan(simulated.value) and simulated.skipped and simulated.control is None
    assert [s.value for s in yes[:3]] == pytest.approx([0.5, 0.5, 1 / 3])
    assert not any(s.beats_control or s.beats_chance for s in yes[:3])
    assert not yes[3].beats_control  # all are the same words
    assert found.failed == found.asked and found.asked[0] == 2 * 12
    assert "answers could not be read" in found.lede and "do not beat" in found.lede


def test_a_judge_in_doubt_is_heard_as_in_doubt(model, monkeypatch):
    """It says 0 everywhere, so its numbers alone foretell nothing; what it nearly said does."""

    class Doubting(Knower):
        tells = True

        @property
        def probabilities(self) -> bool:
            return True

        def _say(self, ask: Ask) -> Reply:
            said = super()._say(ask).text
            if not ask.top:
                return Reply(text=said)
            rows = [line.split(". ") for line in said.splitlines()]
            steps: list[tuple[Alternative, ...]] = []
            for n, value in rows:
                ten = 0.4 if value == "10" else 0.01
                zero = Alternative(token="0", logprob=float(np.log(1 - ten)))
                steps += [(Alternative(token=f"{n}. ", logprob=0.0),)]
                steps += [(zero, Alternative(token="10", logprob=float(np.log(ten))))]
                steps += [(Alternative(token="\n", logprob=0.0),)]
            return Reply(text="\n".join(f"{n}. 0" for n, _ in rows), top=tuple(steps) if self.tells else ())

    found = told_by(Doubting(), model, monkeypatch)
    assert min(u.own[0] for u in found.told) > 0.9
    Doubting.tells = False
    assert [u.own[0] for u in told_by(Doubting(), model, monkeypatch).told] == [0.0, 0.0]


def test_cut_numbers_are_counted(model, monkeypatch):
    class Cut(Knower):
        def _say(self, ask: Ask) -> Reply:
            return super()._say(ask).model_copy(update={"finish": "length"})

    found = told_by(Cut(), model, monkeypatch)
    assert found.failed == found.asked
    assert all(u.words for u in found.told)  # a cut description is judged as far as it goes


def test_empty_descriptions_foretell_nothing_and_are_not_asked_about(model, tmp_path):
    found = study(script(tmp_path / "s.jsonl", [{"say": ""}] * 2))(model, texts())
    assert found.asked == (0, 0, 0, 0)
    assert len(mine(found)) == 5
    assert not any(s.beats_control or s.beats_chance for s in mine(found))
    assert all(u.own.tolist() == pytest.approx([0.0, 0.5, 0.5, 1 / 3, 0.5]) for u in found.told)
    assert "do not beat" in found.lede


def test_too_many_calls_are_refused_before_the_first(model, monkeypatch):
    knower = Knower()
    with pytest.raises(BudgetError, match="are allowed"):
        told_by(knower, model, monkeypatch, most_calls=20)
    assert not knower.held


def test_a_broken_connection_ends_the_study(model, monkeypatch):
    class Gone(Knower):
        def _say(self, ask: Ask) -> Reply:
            raise ChatError("You asked.", "It cannot be reached.", "Check.")

    with pytest.raises(ChatError, match="cannot be reached"):
        told_by(Gone(), model, monkeypatch)


def test_half_of_the_texts_that_are_judged_set_units_off():
    held = [Read((" a",) * 70, np.eye(1, 70, 5).T * (i < 4)) for i in range(40)]
    found = picked(Lab(load(tiny("gpt2"))), held, [0.5], 6)
    assert len(found) == 6 and sum(bool(r.values.max() > 0.5) for r in found) >= 3
    assert all(len(r.tokens) == LENGTH for r in found)


def test_a_model_that_cannot_write_says_nonsense_and_is_found_out():
    found = NeuronDescription(n_shown=3, writer="local:terrarium/decoder", n_judged=4)(
        load("terrarium/decoder"), [f"the {a} was {b}." for a in ("food", "staff", "film") for b in ("good", "bad", "slow", "warm")]
    )  # fmt: skip
    assert (
        "do not beat chance and the swapped descriptions in simulation, detection, fuzzing, intruder, embedding"
        in found.lede
    )
    assert sum(s.n_failed for s in mine(found)) > 0
