"""Language models that write: a local one against `generate`, an endpoint against a real server on loopback, a replay."""

import json
import math
import time

import pytest
import torch

from exegete.core.errors import InputError, MissingNeed, ModelError, StoreError, UsageError
from exegete.models.chat.base import Ask, ChatError, Message
from exegete.models.chat.endpoint import EndpointChat
from exegete.models.chat.kept import Replies
from exegete.models.chat.local import LocalChat
from exegete.models.chat.open import chat
from exegete.models.chat.scripted import Line, ScriptedChat
from exegete.models.load import load
from exegete.models.tiny import tiny
from support.endpoint import Server


@pytest.fixture(scope="module")
def decoder():
    return load("terrarium/decoder")


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    monkeypatch.delenv("EXEGETE_LLM_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def by_hand(model, text: str, n: int) -> tuple[list[int], list[torch.Tensor]]:
    """Greedy continuation, one whole pass a token, with the log-probabilities of each step."""
    ids = list(model.tokenizer(text)["input_ids"])
    said, steps = [], []
    for _ in range(n):
        with torch.no_grad():
            logits = model.module.eval()(torch.tensor([ids + said])).logits[0, -1]
        steps.append(logits.log_softmax(-1))
        said.append(int(logits.argmax()))
    return said, steps


def test_local_says_what_the_model_says(decoder):
    reply = LocalChat(decoder).say("the food was", max_tokens=6, top=3)
    said, steps = by_hand(decoder, "the food was", 6)
    end = decoder.tokenizer.eos_token_id
    kept = said[: said.index(end)] if end in said else said
    assert reply.text == decoder.tokenizer.decode(kept).strip()
    assert len(reply.top) == min(len(kept) + 1, 6)
    for got, want in zip(reply.top, steps):
        values, ids = want.topk(3)
        assert [a.token for a in got] == [decoder.tokenizer.decode([i]) for i in ids.tolist()]
        assert [a.logprob for a in got] == pytest.approx(values.tolist(), abs=1e-4)
    assert math.fsum(math.exp(a.logprob) for a in reply.top[0]) <= 1 + 1e-6


def test_local_is_repeatable_and_leaves_random_state(decoder):
    state = torch.get_rng_state()
    c = LocalChat(decoder)
    a, b = (c.say("the food was", temperature=1.0, seed=3, max_tokens=8).text for _ in range(2))
    assert a == b
    others = {c.say("the food was", temperature=1.0, seed=s, max_tokens=8).text for s in range(6)}
    assert len(others) > 1  # the seed matters
    assert torch.equal(torch.get_rng_state(), state)


def test_local_stops_and_says_when_it_was_cut(decoder):
    whole = LocalChat(decoder).say("the food was", max_tokens=3)
    assert whole.cut
    word = whole.text.split()[-1]
    reply = LocalChat(decoder).say("the food was", max_tokens=30, stop=(word,))
    assert not reply.cut
    assert word not in reply.text


def test_local_uses_the_chat_template_where_there_is_one():
    model = load(tiny("gpt2"))
    plain = LocalChat(model)
    model.tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    templated = LocalChat(model)
    assert "no chat template" in plain.name
    assert "no chat template" not in templated.name
    turn = (Message(role="user", content="the cat"),)
    assert templated._ids(Ask(messages=turn)).shape[1] > plain._ids(Ask(messages=turn, max_tokens=1)).shape[1]


def test_another_chat_template_is_not_answered_from_what_was_kept(tmp_path):
    """The words of a kept reply are those of the template it was asked with."""
    model, kept, spent = load(tiny("gpt2")), Replies(tmp_path), []
    templates = (None, "{{ messages[0].content }}", "{{ messages[0].content }} river", None)
    for template in templates:
        model.tokenizer.chat_template = template
        c = LocalChat(model, kept)
        c.say("the cat", max_tokens=2)
        spent.append((c.spent.calls, c.spent.kept))
    assert spent == [(1, 0), (1, 0), (1, 0), (0, 1)]


def test_local_refuses_what_does_not_fit():
    with pytest.raises(ModelError, match="does not continue"):
        LocalChat(load(tiny("bert")))
    with pytest.raises(ChatError, match="in all"):
        LocalChat(load(tiny("gpt2"))).say("the " * 300)


def test_endpoint_says_what_the_model_behind_it_says(decoder):
    local = LocalChat(decoder)
    with Server(local) as server:
        c = EndpointChat(server.url, "m")
        assert c.probabilities
        got = c.say("the food was", max_tokens=5, top=2)
        want = local.say("the food was", max_tokens=5, top=2)
        assert (got.text, got.finish, got.top) == (want.text, want.finish, want.top)
        assert server.seen[-1]["model"] == "m"
        assert c.spent.calls == 1


@pytest.mark.parametrize(
    ("status", "words"), [(401, "without a key"), (403, "refused"), (404, "knows no model"), (400, "failed")]
)
def test_what_will_not_get_better_fails_at_once(status, words):
    with Server() as server:
        server.faults = [status] * 9
        started = time.monotonic()
        with pytest.raises(ChatError, match=words):
            EndpointChat(server.url, "m").say("hello")
        assert time.monotonic() - started < 1
        assert len(server.seen) == 1


def test_an_empty_purse_is_not_asked_again():
    with Server() as server:
        server.faults = [(429, {}, {"code": "insufficient_quota"})] * 9
        with pytest.raises(ChatError, match="purse"):
            EndpointChat(server.url, "m").say("hello")
        assert len(server.seen) == 1


def test_overload_is_tried_again_under_a_cap(monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr("exegete.models.chat.endpoint.time.sleep", pauses.append)
    with Server() as server:
        server.faults = [429, (503, {"Retry-After": "2"}), 500]
        assert EndpointChat(server.url, "m").say("hello").text == "fine"
        assert len(server.seen) == 4
        assert [p for p in pauses if p] == [0.5, 2.0, 2.0]  # the server's own pauses are of no length
        server.faults, server.seen[:] = [503] * 99, []
        with pytest.raises(ChatError, match="after 5 tries"):
            EndpointChat(server.url, "m").say("hello")
        assert len(server.seen) == 5
        server.faults, server.seen[:] = [(429, {"Retry-After": "3600"})], []
        with pytest.raises(ChatError, match="overloaded"):
            EndpointChat(server.url, "m").say("hello")  # an hour is beyond the deadline
        assert len(server.seen) == 1


def test_a_hanging_endpoint_meets_the_deadline():
    with Server() as server:
        server.faults = ["hang"]
        started = time.monotonic()
        with pytest.raises(ChatError, match=r"within 0\.3 s"):
            EndpointChat(server.url, "m", deadline=0.3).say("hello")
        assert time.monotonic() - started < 2


def test_a_dripping_endpoint_meets_the_deadline():
    """A byte every tenth of a second is never silent for as long as the deadline, and takes three seconds in all."""
    with Server() as server:
        server.faults = ["drip"]
        c = EndpointChat(server.url, "m", deadline=0.5)
        with pytest.raises(ChatError, match=r"within 0\.5 s"):
            c.say("hello")
        assert c.say("hello again").text == "fine"  # the next answer comes over a connection of its own


def test_nobody_there(monkeypatch):
    monkeypatch.setattr("exegete.models.chat.endpoint.time.sleep", lambda _: None)
    with Server() as server:
        url = server.url
    with pytest.raises(ChatError, match="cannot be reached"):
        EndpointChat(url, "m").say("hello")


def test_another_protocol_and_a_cut_answer():
    with Server() as server:
        server.faults = ["prose", "cut"]
        with pytest.raises(ChatError, match="another protocol"):
            EndpointChat(server.url, "m").say("hello")
        assert EndpointChat(server.url, "m").say("hello").cut


def test_an_answer_that_breaks_off_is_asked_for_again(monkeypatch):
    monkeypatch.setattr("exegete.models.chat.endpoint.time.sleep", lambda _: None)
    with Server() as server:
        server.faults = ["broken"]
        assert EndpointChat(server.url, "m").say("hello").text == "fine"
        server.faults, server.seen[:] = ["broken"] * 9, []
        with pytest.raises(ChatError, match=r"broke off .* after 5 tries"):
            EndpointChat(server.url, "m").say("hello")
        assert len(server.seen) == 5


def test_fields_that_an_endpoint_leaves_empty():
    with Server() as server:
        server.faults = ["sparse"]
        c = EndpointChat(server.url, "m")
        c._reports = True
        got = c.say("hello", top=2)
        assert (got.text, got.top, got.tokens_in, got.tokens_out) == ("fine", ((),), 0, 0)


@pytest.mark.parametrize("status", [400, 422])
def test_a_field_that_it_refuses_is_one_that_it_does_not_have(status):
    with Server() as server:
        server.faults = [status]
        assert not EndpointChat(server.url, "m").probabilities


def test_no_key_in_the_address_nor_in_what_an_endpoint_repeats(monkeypatch):
    with pytest.raises(UsageError, match="a query"):
        EndpointChat("http://127.0.0.1:1/v1?api-key=secret", "m")
    monkeypatch.setenv("EXEGETE_LLM_KEY", "sk-secret")
    with Server() as server:
        server.faults = [(400, {}, {"message": "no such field for sk-secret"})]
        with pytest.raises(ChatError, match="no such field") as e:
            EndpointChat(server.url, "m").say("hello")
        assert "sk-secret" not in str(e.value)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with Server() as server, pytest.raises(StoreError, match="cannot be made"):
        EndpointChat(server.url, "m", Replies(tmp_path / "file")).say("hello")


def test_an_endpoint_without_probabilities_is_not_asked_for_them():
    with Server(logprobs=False) as server:
        c = EndpointChat(server.url, "m")
        assert not c.probabilities
        n = len(server.seen)
        with pytest.raises(MissingNeed):
            c.say("hello", top=2)
        assert len(server.seen) == n


def test_keys_go_only_where_they_are_meant_for(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-of-another")
    with Server(key="mine") as server:
        with pytest.raises(ChatError, match="without a key") as e:
            EndpointChat(server.url, "m").say("hello")
        assert "secret-of-another" not in server.seen[-1]["key"]
        monkeypatch.setenv("EXEGETE_LLM_KEY", "wrong")
        with pytest.raises(ChatError, match="the key") as e:
            EndpointChat(server.url, "m").say("hello")
        assert "wrong" not in str(e.value)
        monkeypatch.setenv("EXEGETE_LLM_KEY", "mine")
        c = EndpointChat(server.url, "m")
        assert c.say("hello").text == "fine"
        assert "mine" not in c.identity


def test_replies_are_kept_by_the_whole_request(tmp_path):
    with Server() as server:
        c = EndpointChat(server.url, "m", Replies(tmp_path))
        for _ in range(2):
            c.say("hello")
        assert len(server.seen) == 1
        assert (c.spent.calls, c.spent.kept) == (1, 1)
        c.say("hello", max_tokens=3)
        c.say("hello", seed=1)
        EndpointChat(server.url, "other", Replies(tmp_path)).say("hello")
        assert len(server.seen) == 4
        asks = [Ask(messages=(Message(role="user", content=t),)) for t in ("hello", "new one!", "new one!")]
        told = c.preview(asks)
        assert (told.calls, told.kept, told.tokens_in) == (1, 2, 2)
    broken = next(p for p in tmp_path.rglob("*.json"))
    broken.write_text("{")
    assert Replies(tmp_path).get("x") is None


def test_a_script_replays():
    c = ScriptedChat([Line("b", when="two"), Line("a"), Line("c", finish="length")])
    assert [c.say("one").text, c.say("two").text] == ["a", "b"]
    assert c.say("three").cut
    with pytest.raises(ChatError, match="none for 'four'"):
        c.say("four")


def test_names(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps({"say": "x"}) + "\n\n" + json.dumps({"say": "y", "when": "z"}) + "\n")
    assert chat(f"script:{path}").say("hello").text == "x"
    assert isinstance(chat("local:terrarium/decoder"), LocalChat)
    assert isinstance(chat("http://127.0.0.1:1/v1#m"), EndpointChat)
    for wrong in ("gpt-4", "script:", "http://127.0.0.1:1/v1"):
        with pytest.raises(UsageError):
            chat(wrong)
    with pytest.raises(UsageError, match="password"):
        chat("http://me:secret@127.0.0.1/v1#m")
    path.write_text("not json\n")
    with pytest.raises(InputError, match="Line 1"):
        chat(f"script:{path}")
    with pytest.raises(InputError, match="cannot be read"):
        chat(f"script:{tmp_path / 'none'}")
