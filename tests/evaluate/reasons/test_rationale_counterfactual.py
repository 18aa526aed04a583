"""Insertions: answerers turned by one known word, who name it, or hide it, or name whatever stands there."""

import numpy as np
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


def test_a_word_of_the_options_is_not_put_in():
    """It would be named by whoever repeats the answer: "bad because it is bad" says nothing of what was put in."""
    words = ("bad", "green")
    found = RationaleCounterfactualStudy(words=words, n_candidates=30, n_words=1).judge(
        Planted(lambda text, options: int("bad" in text.split())), ASKED
    )
    assert found.flipped.sum() == 0  # "bad" would have turned all
    with pytest.raises(InputError, match="its options"):
        RationaleCounterfactualStudy(words=("bad", "noon")).judge(Writer(str), ASKED)


def test_the_control_has_as_many_words_to_be_named():
    """An explanation of one word that always stands there is named twice as often where two words were put in."""

    class Both(Writer):
        def _answers(self, prompts):
            def sure(t):
                return {0: 0.9, 1: 0.6, 2: 0.2}[("awful" in t) + ("paper" in t)]

            return [np.array([sure(p.text), 1 - sure(p.text)]) for p in prompts]

    study = STUDY.model_copy(update={"n_words": 2})
    found = [study._search(Both(str), ASKED, i, np.array([0.9, 0.1])) for i in range(3)]
    assert all(len(s.turned.words) == len(s.idle.words) == 2 for s in found)


def test_one_explanation_alone_is_no_control_of_itself():
    only = (ASKED[0], Choice(question="well", options=("good", "bad"), lead="it is"))

    def rule(text, options):
        return int("awful" in text and "soup" in text)

    class One(Writer):
        def __init__(self):
            Planted.__init__(self, rule)
            self.why = lambda prompt: "awful soup"

    found = STUDY.judge(One(), only)
    rebuilt = found.trust.scores[1]
    assert (rebuilt.value, rebuilt.n) == (1.0, 1)
    assert rebuilt.control is None and "another question's explanation" in rebuilt.skipped


def test_a_question_that_grows_too_long_does_not_stop_the_others():
    class Short(Writer):
        def _answers(self, prompts):
            found = super()._answers(prompts)
            return [np.full(2, np.nan) if len(p.text.split()) > 9 else x for p, x in zip(prompts, found)]

    long = Choice(question="the very old soup was served at", options=("good", "bad"), lead="it is")
    found = STUDY.judge(Short(lambda p: "awful"), (*ASKED, long))
    assert found.flipped.tolist() == [1.0, 1.0, 1.0, 0.0]


def test_questions_alone_give_the_whole_where_words_are_given():
    """Among them one that is never answered, and one that no word turns."""

    class Some(Writer):
        def _answers(self, prompts):
            found = super()._answers(prompts)
            found = [np.eye(2)[0] if "rice" in p.text else x for p, x in zip(prompts, found)]
            return [np.full(2, np.nan) if "tea" in p.text else x for p, x in zip(prompts, found)]

    items = (*ASKED, ASKED[0].model_copy(update={"question": "the tea was served"}), *ASKED[:1])
    who, study = Some(lambda p: p), STUDY.model_copy(update={"n_candidates": 4})
    parts = [p for q in items for p in study._asked(who, [q])]
    whole, found = study.judge(who, items), study._told(who, items, parts, 2)
    for name in ("flipped", "tried", "named", "named_idle", "rebuilt", "rebuilt_other"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert found.cases == whole.cases
    assert whole.flipped.tolist() == [1.0, 1.0, 0.0, 1.0]
    assert [b.n_failed - a.n_failed for a, b in zip(whole.trust.scores, found.trust.scores)] == [2, 2]


def test_words_of_the_other_questions_keep_it_whole():
    study = RationaleCounterfactualStudy(n_candidates=30, n_words=1)
    assert "words=" in study.whole and not STUDY.whole
    found = study.judge(Planted(lambda text, options: int("soup" in text and "fish" in text)), ASKED)
    assert found.flipped.tolist() == [1.0, 1.0, 0.0]  # "fish" into the soup, "soup" into the fish
