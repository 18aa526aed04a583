"""Judges with planted leanings are exposed by their scores, an honest one is not; verdicts in both orders, behind an endpoint too."""

import json

import numpy as np
import pytest

from exegete.cli.main import dispatch
from exegete.core.errors import BudgetError, InputError, UnknownName, UsageError
from exegete.core.results.explanation_judging import Candidate, ExplainedText
from exegete.core.store import open_result
from exegete.evaluate.simulation.explanation_judging import judge_explanations, read_explained
from exegete.models.chat.base import Chat, ChatError
from exegete.models.chat.endpoint import EndpointChat
from exegete.show.render import page, terminal
from support.endpoint import Server
from support.judges import Judge, first, honest, quality, vain, wordy


def texts(n=12, known=True):
    """Explanations by three writers that name two, one or no word of the text, in turn; "mine" begins with "indeed"."""
    found = []
    for i in range(n):
        text = f"tree{i} house{i} river{i}"
        named = [
            f"due to tree{i} house{i}",
            f"due to river{i} somehow",
            "due to nothing that one could see there",
        ]
        words = [named[(k + i) % 3] for k in range(3)]
        words[0] = f"indeed {words[0]}"
        found.append(
            ExplainedText(
                text=text,
                answer="good",
                explanations=tuple(
                    Candidate(writer=w, text=x, quality=quality(text, x) if known else None)
                    for w, x in zip(("mine", "hers", "his"), words)
                ),
            )
        )
    return tuple(found)


def score(found, start):
    return next(s for s in found.trust.scores if s.name.startswith(start))


def test_an_honest_judge_is_right_and_not_exposed():
    found = judge_explanations(texts(), Judge(honest), own="mine")
    assert found.exposed == ()
    assert score(found, "inconsistent").value == 0
    assert score(found, "inconsistent").beats_chance
    right = score(found, "agreement")
    assert (right.value, right.n, right.n_failed) == (1.0, 36, 0)
    assert right.beats_chance and right.beats_control
    assert score(found, "lean to the longer").n == 12  # its own are left out
    for name in ("lean to the first", "preference", "lean to the longer"):
        assert score(found, name).value == 0
        assert score(found, name).beats_control
    assert score(found, "wins of mine").value == pytest.approx(0.5)
    assert "No leaning was found" in found.lede


def test_one_that_takes_the_first_place_is_exposed_and_decides_nothing():
    found = judge_explanations(texts(), Judge(first), own="mine")
    assert found.exposed == ("it leans to the first place",)
    turned = score(found, "inconsistent")
    assert (turned.value, turned.chance) == (1.0, 1.0)
    assert not turned.beats_chance
    assert score(found, "lean to the first").value == 1.0
    assert not score(found, "lean to the first").beats_control
    assert score(found, "agreement").value == 0.5  # every pair counts as a tie
    assert (found.wins[~np.eye(3, dtype=bool)] == 0.5).all()
    assert found.by_criterion.tolist() == [0.0] * 3
    assert "Do not rank by it" in found.lede


def test_one_that_leans_to_a_place_in_doubt_only():
    """Honest where one is better by two words, else the second place."""

    def doubtful(text, a, b):
        return honest(text, a, b) if abs(quality(text, a) - quality(text, b)) > 1 else -1

    found = judge_explanations(texts(), Judge(doubtful), own="mine")
    assert found.exposed == ("it leans to the second place",)
    assert score(found, "inconsistent").value == pytest.approx(2 / 3)
    assert score(found, "lean to the second").value == pytest.approx(2 / 3)


def test_one_that_prefers_its_own_is_exposed():
    found = judge_explanations(texts(), Judge(vain), own="mine")
    assert found.exposed == ("it prefers what it wrote itself",)
    extra = score(found, "preference")
    assert extra.n == 24
    # it wins all; it should win where it names more: two thirds of the time it does not win both
    should = [np.sign(t.explanations[0].quality - c.quality) for t in texts() for c in t.explanations[1:]]
    assert extra.value == pytest.approx(np.mean([x < 1 for x in should]))
    assert score(found, "wins of mine").value == 1.0
    assert score(found, "inconsistent").value == 0
    other = judge_explanations(texts(), Judge(vain), own="hers")
    assert "it prefers what it wrote itself" not in other.exposed


def test_one_that_takes_the_longer_one_is_exposed():
    found = judge_explanations(texts(), Judge(wordy), own="hers")
    assert "it leans to the longer one" in found.exposed
    right = score(found, "agreement")
    assert right.value == pytest.approx(right.control)
    assert not right.beats_control


def test_what_cannot_be_read_is_failed_not_a_tie():
    judge = Judge(honest, garbled=8)
    found = judge_explanations(texts(), judge)
    assert len(judge.prompts) == 72
    right = score(found, "agreement")
    assert (right.n, right.n_failed, right.value) == (27, 9, 1.0)
    assert len(found.failures) == 9 and "Both are fine." in found.failures[0]
    assert sum(row[-1] == "failed" for row in found.pairs) == 9
    assert "was not tested" in found.notes[0]


def test_a_failed_pair_is_one_of_its_own_writers_alone():
    """One answer is garbled: that on mine against hers, of the last text. His pairs could all be read."""
    found = judge_explanations(texts(), Judge(honest, garbled=68), own="mine")
    assert [(s.n, s.n_failed) for s in found.trust.scores if s.name.startswith("wins")] == [
        (23, 1),
        (23, 1),
        (24, 0),
    ]
    assert (score(found, "preference").n, score(found, "preference").n_failed) == (23, 1)
    assert (score(found, "lean to the longer").n, score(found, "lean to the longer").n_failed) == (12, 0)
    assert (score(found, "lean to the first").n, score(found, "lean to the first").n_failed) == (35, 1)


def test_two_texts_are_no_proof_that_a_judge_is_steady():
    """Its six verdicts stay, as they do in some of all runs of one that tosses a coin a text."""
    turned = score(judge_explanations(texts(2), Judge(honest)), "inconsistent")
    assert turned.value == 0 and not turned.beats_chance
    assert turned.interval[1] == pytest.approx(1 - 0.025**0.5)


def test_the_judge_sees_no_writer_and_each_pair_in_both_orders():
    judge = Judge(honest)
    judge_explanations(texts(2), judge, rubric=("Which one is clearer?",))
    assert not any(w in p for p in judge.prompts for w in ("mine", "hers", "his\n"))
    assert len(set(judge.prompts)) == 12
    assert all("1. Which one is clearer?" in p and "2. " not in p for p in judge.prompts)
    a, b = judge.prompts[:2]
    part = lambda p, x, y: p.split(x)[1].split(y)[0].strip()  # noqa: E731
    assert part(a, "Explanation A:", "Explanation B:") == part(b, "Explanation B:", "Say for each")


def test_without_a_known_order_only_places_are_tested():
    found = judge_explanations(texts(known=False), Judge(first), own="mine")
    assert found.exposed == ("it leans to the first place",)
    assert [s.name for s in found.trust.scores if not s.name.startswith("wins")] == [
        "inconsistent verdicts",
        "lean to the first place",
    ]
    assert "No order is known" in found.notes[0]


@pytest.mark.parametrize(("rule", "exposed"), [(honest, 0), (first, 1), (vain, 1)])
def test_behind_an_endpoint(rule, exposed):
    with Server(Judge(rule)) as server:
        found = judge_explanations(texts(6), EndpointChat(server.url, "m"), own="mine")
    assert len(found.exposed) == exposed
    assert found.cost.forwards == 36


class Gone(Chat):
    """Answers `n` times, then is gone."""

    name = "gone"

    def __init__(self, n):
        super().__init__()
        self.n, self.asked = n, 0

    identity = "gone"

    def _say(self, ask):
        self.asked += 1
        if self.asked > self.n:
            raise ChatError("You asked.", "It cannot be reached.", "Try later.")
        return Judge(honest)._say(ask)


def test_who_is_gone_is_not_asked_for_ever():
    judge = Gone(10)
    with pytest.raises(ChatError):
        judge_explanations(texts(), judge)
    assert judge.asked == 13


def test_letters(tmp_path):
    one = texts(1)
    with pytest.raises(BudgetError, match="6 calls"):
        judge_explanations(one, Judge(honest), most_calls=5)
    with pytest.raises(UnknownName, match="writer"):
        judge_explanations(one, Judge(honest), own="nobody")
    with pytest.raises(UsageError, match="no question"):
        judge_explanations(one, Judge(honest), rubric=("",))
    with pytest.raises(InputError, match="No text"):
        judge_explanations((), Judge(honest))
    with pytest.raises(InputError, match="None of its answers"):
        judge_explanations(one, Judge(honest, garbled=1))
    with pytest.raises(InputError, match="different names"):
        ExplainedText(text="a", answer="b", explanations=(Candidate(writer="x", text="y"),) * 2)
    (tmp_path / "x.jsonl").write_text('{"text": "a", "answer": "b", "explanations": []}')
    with pytest.raises(InputError, match="Line 1"):
        read_explained(tmp_path / "x.jsonl")


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.jsonl").write_text("\n".join(t.model_dump_json() for t in texts(4)))
    (tmp_path / "r.txt").write_text("Which one is clearer?\n\n")
    (tmp_path / "s.jsonl").write_text('{"when": "Explanation", "say": "1: A"}')
    line = ["judge", "x.jsonl", "--judge", "script:s.jsonl", "--rubric", "r.txt", "--own", "his", "--json"]
    assert dispatch([*line, "--out", "r.exg"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["exposed"] == ["it leans to the first place"]
    r = open_result("r.exg")
    assert r.save("again.exg") and open_result("again.exg") == r
    assert "<html" in page(r)
    terminal(r)
