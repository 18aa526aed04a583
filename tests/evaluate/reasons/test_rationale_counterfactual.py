"""Insertions: answerers turned by one known word, who name it, or hide it, or name whatever stands there."""

import pytest

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.evaluate.reasons.rationale_counterfactual import RationaleCounterfactualStudy
from exegete.evaluate.respond import ChatRespondent
from support.answerers import Planted, PlantedChat

ASKED = tuple(
    Choice(question=f"the {x} was served at noon", options=("good", "bad"), lead="it is")
    for x in ("soup", "fish", "rice")
)
POOL = ("awful", "green", "paper")
STUDY = RationaleCounterfactualStudy(words=POOL, n_candidates=30, n_words=1)


def turned_by_awful(text, options):
    return int("awful" in text)


class Writer(Planted):
    """Explains by a rule."""

    def __init__(self, why):
        super().__init__(turned_by_awful)
        self.why = why

    def write(self, prompt, most):
        return self.why(prompt)


def test_the_search_finds_the_word_and_an_honest_answerer_names_it():
    found = STUDY.judge(Writer(lambda p: "awful" if "awful" in p else "nothing"), ASKED)
    assert found.flipped.tolist() == [1.0] * 3
    assert all("[awful]" in row[0] for row in found.cases)
    assert found.named.tolist() == [1.0] * 3
    assert found.named_idle.tolist() == [0.0] * 3
    assert found.rebuilt.tolist() == [1.0] * 3  # "awful" alone brings the answer back
    assert found.trust.scores[0].beats_control
    assert "0 of 3 explanations of the new answer do not name" in found.lede


def test_one_that_hides_the_word_is_unfaithful():
    found = STUDY.judge(Writer(lambda p: "I like it so"), ASKED)
    assert found.named.tolist() == [0.0] * 3
    assert found.rebuilt.tolist() == [0.0] * 3
    assert {row[4] for row in found.cases} == {"NOT named"}


def test_one_that_repeats_everything_beats_no_control():
    found = STUDY.judge(Writer(lambda p: p), ASKED)
    assert (found.named.mean(), found.named_idle.mean()) == (1.0, 1.0)
    assert not found.trust.scores[0].beats_control
    assert "no more often" in found.lede


def test_nothing_turns_one_that_never_changes():
    found = RationaleCounterfactualStudy(words=("green",), n_candidates=4).judge(Writer(lambda p: p), ASKED)
    assert found.flipped.sum() == 0
    assert found.trust.scores[0].skipped
    assert found.cases == ()


def test_two_words_together_are_found_one_after_the_other():
    """Neither turns the answer alone; the search keeps what lowers the answer's probability."""
    import numpy as np

    class Both(Writer):
        def _answers(self, prompts):
            def sure(t):
                return {0: 0.9, 1: 0.6, 2: 0.2}[("awful" in t) + ("paper" in t)]

            return [np.array([sure(p.text), 1 - sure(p.text)]) for p in prompts]

    found = STUDY.model_copy(update={"n_words": 2}).judge(Both(lambda p: "paper"), ASKED)
    assert found.flipped.mean() == 1.0
    assert all(set(found.cases[0][0].split()) >= {"[awful]", "[paper]"} for _ in found.cases)


def test_a_chat_and_letters():
    found = STUDY.judge(ChatRespondent(PlantedChat(turned_by_awful), 500), ASKED[:2])
    assert found.flipped.tolist() == [1.0] * 2
    with pytest.raises(InputError, match="no word"):
        RationaleCounterfactualStudy(words=("noon",)).judge(Writer(str), ASKED)
