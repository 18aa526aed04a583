"""Generator and validator: one who agrees with himself, one who says yes to all, one who likes a word, and one who contradicts."""

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.evaluate.reasons.generator_validator import GeneratorValidatorStudy
from exegete.evaluate.respond import ChatRespondent
from exegete.models.chat.scripted import Line, ScriptedChat
from exegete.models.load import load
from exegete.terrarium.questions import questions
from support.answerers import Planted, PlantedChat

NAMES = ("oak", "elm", "ash", "yew")
ASKED = tuple(Choice(question=f"which is number {i}?", options=NAMES, lead="it is") for i in range(40))


def number(text):
    return int(text.split("number ")[1].split("?")[0])


def answered(text):
    return text.split("it is ")[1].split(".")[0]


def same(text, options):
    """Answers by the number, and finds right what it would answer."""
    if options == ("yes", "no"):
        return int(answered(text) != NAMES[number(text) % 4])
    return number(text) % 4


def yes(text, options):
    return 0 if options == ("yes", "no") else number(text) % 4


def contrary(text, options):
    found = same(text, options)
    return 1 - found if options == ("yes", "no") else found


def likes(text, options):
    """Finds "oak" right whatever is asked."""
    return int(answered(text) != "oak") if options == ("yes", "no") else number(text) % 4


def test_one_that_agrees_with_himself():
    found = GeneratorValidatorStudy().judge(Planted(same), ASKED)
    assert [s.value for s in found.trust.scores] == [1.0, 1.0]
    assert all(s.beats_chance and s.beats_control for s in found.trust.scores)
    assert found.generated.tolist() == [i % 4 for i in range(40)]
    assert "It judges as it answers" in found.lede


def test_one_that_says_yes_to_all_agrees_by_half_and_an_unbalanced_rate_gains_nothing():
    found = GeneratorValidatorStudy().judge(Planted(yes), ASKED)
    assert [s.value for s in found.trust.scores] == [0.5, 0.5]
    assert not any(s.beats_chance for s in found.trust.scores)


def test_one_that_contradicts_himself():
    found = GeneratorValidatorStudy().judge(Planted(contrary), ASKED)
    assert [s.value for s in found.trust.scores] == [0.0, 0.0]


def test_one_that_likes_a_word_does_not_beat_shuffled_answers():
    found = GeneratorValidatorStudy().judge(Planted(likes), ASKED)
    assert not all(s.beats_chance and s.beats_control for s in found.trust.scores)
    assert "two things" in found.lede


def test_a_chat_and_what_it_does_not_answer():
    direct = GeneratorValidatorStudy().judge(Planted(same), ASKED[:4])
    told = GeneratorValidatorStudy().judge(ChatRespondent(PlantedChat(same)), ASKED[:4])
    assert np.array_equal(direct.agrees, told.agrees)
    mute = ScriptedChat([Line(say="oak", when="which is"), Line(say="hm", when="?")])
    with pytest.raises(InputError):
        GeneratorValidatorStudy().judge(ChatRespondent(mute), ASKED[:2])


def test_on_the_embedded_decoder():
    found = GeneratorValidatorStudy()(load("terrarium/decoder"), questions(8))
    assert found.checks[0].passed
    assert np.isfinite(found.says_yes).all()
    assert (found.says_yes[np.arange(8), found.generated] <= 1).all()
