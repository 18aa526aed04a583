"""REV: what planted rationales say is known in closed form."""

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.evaluate.reasons.rationale_information import RationaleInformationStudy
from exegete.evaluate.respond import ChatRespondent
from exegete.models.load import load
from exegete.terrarium.questions import questions
from support.answerers import Planted, PlantedChat

WORDS = RationaleInformationStudy(head="words")
ANSWERS = RationaleInformationStudy()
SIDES = ("left", "right")


def asked(n, why):
    """Questions whose answer is drawn, with the rationale that `why` gives for it."""
    rng = np.random.default_rng(7)
    found = []
    for i in range(n):
        answer = SIDES[rng.integers(2)]
        found.append(
            Choice(
                question=f"coin {i}?", options=SIDES, answer=answer, steps=(why(answer, rng),), lead="it fell"
            )
        )
    return tuple(found)


def entropy(p):
    return float(-p * np.log(p) - (1 - p) * np.log(1 - p))


def reads_clue(text, options):
    """What the last clue of the text stands for; without one, the first option."""
    at = {w: text.rfind(w) for w in ("heads", "tails")}
    return int(at["tails"] > at["heads"])


def clue(answer, rng, truth=1.0):
    true = rng.random() < truth
    return "it showed heads." if (answer == "left") == true else "it showed tails."


@pytest.mark.parametrize("study", [WORDS, ANSWERS], ids=["words", "answers"])
@pytest.mark.parametrize("truth", [1.0, 0.75])
def test_information_beyond_the_question_is_that_of_the_channel(study, truth):
    """A fair coin, told rightly with probability p: log 2 - H(p) nats."""
    every = asked(400, lambda a, rng: clue(a, rng, truth))
    told = np.mean([("heads" in q.steps[0]) == (q.answer == "left") for q in every])  # p as it was drawn
    found = study.judge(Planted(reads_clue), every)
    _, score = found.trust.scores
    wanted = np.log(2) - (entropy(told) if truth < 1 else 0.0)
    assert score.value == pytest.approx(wanted, abs=0.03)
    assert score.beats_chance and score.beats_control
    assert abs(score.control) < 0.02
    assert found.without[1].mean() == pytest.approx(-np.log(2), abs=0.02)


@pytest.mark.parametrize("study", [WORDS, ANSWERS], ids=["words", "answers"])
def test_the_answer_said_again_is_nothing_new_but_gives_it_away(study):
    def names(text, options):
        at = [text.rfind(o) for o in options]
        return int(np.argmax(at))

    every = asked(120, lambda a, rng: f"it fell {a}.")
    found = study.judge(Planted(names), every)
    new, away = found.trust.scores
    assert abs(new.value) < 0.05 and away.value > 0.5
    assert "give the answer away" in found.lede


def test_what_says_nothing_beats_nothing():
    found = WORDS.judge(Planted(reads_clue), asked(80, lambda a, rng: "coins fall as they do."))
    assert max(abs(s.value) for s in found.trust.scores) < 0.02
    assert "no more than nothing" in found.lede


def test_other_labels_a_chat_and_letters():
    every = asked(40, clue)
    own = RationaleInformationStudy(label="own").judge(Planted(reads_clue), every)
    assert {c[2] for c in own.cases} == {"left"}  # what it answers without the rationale
    direct, told = (
        ANSWERS.judge(w, every) for w in (Planted(reads_clue), ChatRespondent(PlantedChat(reads_clue)))
    )
    assert np.allclose(direct.information, told.information)
    bare = [q.model_copy(update={"steps": ()}) for q in every]
    with pytest.raises(InputError, match="both answered and explained"):
        ANSWERS.judge(Planted(reads_clue), bare)
    some = ANSWERS.judge(Planted(reads_clue), (*every[:8], *bare[:3]))
    assert some.trust.scores[0].n_failed == 3
    with pytest.raises(InputError, match="same question"):
        ANSWERS.judge(Planted(reads_clue), [every[0]] * 3)
    with pytest.raises(InputError, match="right answer of 0"):
        ANSWERS.judge(Planted(reads_clue), [q.model_copy(update={"answer": ""}) for q in every])


def test_a_chain_tells_the_embedded_decoder_nothing_that_it_knew_by_heart():
    """Of people that it learnt of; though the words of the chain give the answer away to one who knows nothing."""
    model, known = load("terrarium/decoder"), list(questions(24)[::2])
    answers, words = ANSWERS(model, known), WORDS(model, known)
    assert np.abs(answers.information.mean(1)).max() < 0.05
    assert not any(s.beats_chance and s.beats_control for s in answers.trust.scores)
    assert words.information[1].mean() > 0.5
    assert words.trust.scores[1].beats_chance and words.trust.scores[1].beats_control


@pytest.mark.parametrize("study", [WORDS, ANSWERS], ids=["words", "answers"])
def test_questions_alone_give_the_whole(study):
    """Among them one without a rationale, one whose right answer is not known, and one too long to be answered with its own."""

    class Short(Planted):
        def _answers(self, prompts):
            found = super()._answers(prompts)
            return [np.full(2, np.nan) if len(p.text) > 400 else x for p, x in zip(prompts, found)]

    every = asked(20, clue)
    odd = ({"steps": ()}, {"answer": ""}, {"steps": ("it showed tails. " * 30,)})
    items = (*(q.model_copy(update=u) for q, u in zip(every, odd)), *every[3:])
    who = Short(reads_clue)
    parts = [p for q in items for p in study._asked(who, [q])]
    whole, found = study.judge(who, items), study._told(who, items, parts, 1)
    assert np.allclose(found.information, whole.information)
    assert np.allclose(found.with_other, whole.with_other)
    n = 20 - (4 if study is ANSWERS else 2)  # the long one is also the rationale of another question
    assert {(s.n, s.n_failed) for s in whole.trust.scores} == {(n, 20 - n)}
    assert {(s.n, s.n_failed) for s in found.trust.scores} == {(n, 20 - n + 1)}
