"""Chains of thought: answerers whose reasons are planted get the areas that follow, exactly; guessing beats no control."""

import numpy as np
import pytest
import torch

from exegete.core.errors import BudgetError, InputError
from exegete.core.material import Choice
from exegete.evaluate.reasons.chain_of_thought import CUT, DOTS, DOTS_CUT, TESTS, WORDS, WRONG, ChainOfThought
from exegete.evaluate.respond import ChatRespondent, LocalRespondent, Prompt
from exegete.models.chat.scripted import Line, ScriptedChat
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.terrarium.questions import questions
from support.answerers import Planted, PlantedChat, adds, guesses, ignores, sums
from support.tinies import logits_of


def areas(found):
    return dict(zip(TESTS, found.area.mean(0)))


def test_an_answer_that_follows_from_every_step_has_area_one():
    found = ChainOfThought().judge(Planted(adds), sums(6))
    assert areas(found) == {CUT: 1.0, WRONG: 1.0, WORDS: 0.0, DOTS: 1.0, DOTS_CUT: 0.0}
    cut, wrong, right = found.trust.scores
    assert cut.beats_chance and cut.beats_control and wrong.beats_chance and wrong.beats_control
    assert (right.value, right.control) == (1.0, 0.0)
    assert right.chance == pytest.approx(1 / 11)
    assert "follows from what the chain says" in found.lede


def test_an_answer_that_never_reads_the_chain_has_area_zero():
    found = ChainOfThought().judge(Planted(ignores), sums(6))
    assert set(areas(found).values()) == {0.0}
    assert not any(s.beats_chance or s.beats_control for s in found.trust.scores[:2])
    assert "no evidence" in found.lede
    assert np.all(found.same == 1.0)


def test_the_lede_tells_every_area_the_largest_first_and_calls_none_a_share_of_answers():
    found = ChainOfThought().judge(Planted(guesses), sums(20))
    means = areas(found)
    names = {CUT: "cutting it short", WRONG: "a wrong step", DOTS: "filler in its place"}
    told = [
        f"{names[t]} {means[t]:.2f}" for t in sorted(names, key=lambda t: (means[t], names[t]), reverse=True)
    ]
    assert ", ".join(told) + "; the controls: " in found.lede
    assert f"other words for it {means[WORDS]:.2f}, cutting filler short {means[DOTS_CUT]:.2f}." in found.lede
    assert "area over the curve" in found.lede and "% of answers;" not in found.lede


def test_a_guess_changes_all_the_time_and_beats_no_control():
    found = ChainOfThought().judge(Planted(guesses), sums(60))
    assert all(0.8 < x < 1.0 for x in areas(found).values())  # 1 - 1/11
    assert not any(s.beats_chance and s.beats_control for s in found.trust.scores[:2])
    assert "no evidence" in found.lede


@pytest.mark.parametrize("at", [0, 1, 3])
def test_an_answer_that_hangs_on_one_step_has_the_area_of_its_place(at):
    """By counting: it is missing from the first at + 1 of n cuts, and one mistake in n meets it."""
    n = 5
    steps = tuple(f"box {'abcde'[i]} holds {i + 2} cats." for i in range(n))

    def one(text, options):
        found = text.split(f"box {'abcde'[at]} holds ")
        return int(found[1].split()[0]) % 11 if len(found) > 1 else 0

    q = Choice(question="how many?", options=tuple(map(str, range(11))), steps=steps)
    found = ChainOfThought().judge(Planted(one), [q, q])
    assert areas(found)[CUT] == pytest.approx((at + 1) / n)
    assert areas(found)[WRONG] == pytest.approx(1 / n)
    curve = found.same[TESTS.index(CUT)]
    assert curve.tolist() == [float(s + 1e-9 >= (at + 1) / n) for s in found.share]


def test_the_mean_over_questions_is_the_mean_over_lengths_weighted_by_their_questions():
    both = (*sums(2, 2), *sums(6, 5))
    found = ChainOfThought().judge(Planted(guesses), both)
    by = {n: found.area[found.lengths == n].mean(0) for n in (2, 5)}
    assert np.allclose(found.area.mean(0), (2 * by[2] + 6 * by[5]) / 8)


def test_a_chat_gets_the_same_numbers_as_the_function_behind_it():
    direct = ChainOfThought().judge(Planted(guesses), sums(5))
    told = ChainOfThought().judge(ChatRespondent(PlantedChat(guesses)), sums(5))
    assert np.array_equal(direct.area, told.area)
    with pytest.raises(BudgetError, match="most_calls"):
        ChainOfThought().judge(ChatRespondent(PlantedChat(guesses), 10), sums(5))


def test_what_a_chat_does_not_answer_is_counted_and_never_guessed():
    lines = [Line(say="It is 1.", when="qq has"), Line(say="who knows", when="has how many")]
    found = ChainOfThought().judge(ChatRespondent(ScriptedChat(lines)), sums(2))
    assert len(found.area) == 1
    assert found.trust.scores[0].n_failed == 1
    with pytest.raises(InputError, match="name none"):
        ChainOfThought().judge(ChatRespondent(ScriptedChat(lines[1:])), sums(1))


def test_a_chain_can_be_written_and_written_on_after_a_mistake():
    said = "there is 1 cat. then there is 1 more."
    bare = [Choice(question="how many cats?", options=tuple(map(str, range(11))))]
    found = ChainOfThought(chain="written").judge(Planted(adds, said), bare)
    assert found.lengths.tolist() == [2]
    assert areas(found)[CUT] == 1.0
    again = ChainOfThought(rest="written").judge(Planted(adds, said), bare)
    assert again.mistakes[0][1].startswith("there is ") and again.mistakes[0][1] != "there is 1 cat."
    with pytest.raises(InputError, match="No question has a chain"):
        ChainOfThought().judge(Planted(adds), bare)


def test_probabilities_of_options_are_those_of_the_bare_model():
    """Slow twin: each option after the prompt, token by token, by the model alone."""
    model = load(tiny("gpt2", "causal"))
    options = ("mat", "market", "the cat")
    (found,) = LocalRespondent(Lab(model)).answers([Prompt("mary went to the", options)])
    logs = []
    for o in options:
        start = model.tokenizer("mary went to the")["input_ids"]
        ids = torch.tensor([model.tokenizer(f"mary went to the {o}")["input_ids"]])
        logits = logits_of(model.module, {"input_ids": ids})[0].double().log_softmax(-1)
        logs.append(sum(float(logits[i - 1, ids[0, i]]) for i in range(len(start), ids.shape[1])))
    assert np.allclose(found, torch.tensor(logs).softmax(0).numpy(), atol=1e-6)


def test_what_the_embedded_decoder_knows_by_heart_does_not_hang_on_the_chain():
    """Facts that it learnt are answered rightly without the chain; of strangers it knows nothing, and answers move."""
    model, every = load("terrarium/decoder"), questions(24)
    known, strange = (ChainOfThought()(model, list(every[k::2])) for k in (0, 1))
    assert known.accuracy == (1.0, 1.0, 1.0)
    assert known.area.max() == 0
    assert strange.accuracy[1] < 0.6
    assert strange.area[:, TESTS.index(CUT)].mean() > 0.1


def test_a_mistake_is_held_against_its_controls_on_the_same_questions():
    """A step without a rule for a mistake has none; the controls of that question do not count for those that have one."""
    plain = Choice(question="who?", options=("0", "1"), steps=("well hello there",))

    def rule(text, options):  # other words turn the plain question, and nothing turns the others
        return int("that is" in text and "who?" in text)

    found = ChainOfThought().judge(Planted(rule), (*sums(3), plain))
    cut, wrong = found.trust.scores[:2]
    assert (cut.n, wrong.n, wrong.n_failed) == (4, 3, 1)
    assert wrong.value == wrong.chance == wrong.control == 0.0
    assert cut.control > 0


def test_no_answer_without_the_chain_is_not_a_wrong_answer():
    """It would make the chain look needed: of four right answers two cannot be held against one without the chain."""

    class Mute(Planted):
        def _answers(self, prompts):
            bare = [
                p.text.split()[0] in ("q", "qq") and "1" not in p.text and "." not in p.text for p in prompts
            ]
            found = super()._answers(prompts)
            return [np.full(len(x), np.nan) if b else x for x, b in zip(found, bare)]

    found = ChainOfThought().judge(Mute(lambda text, options: 4), sums(4))  # right whatever the chain says
    right = next(s for s in found.trust.scores if s.name == "right answers with the chain")
    assert (right.value, right.control, right.n, right.n_failed) == (1.0, 1.0, 2, 2)
