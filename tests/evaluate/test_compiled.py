"""Compiled models: they solve their task, and every edge is patched by a slow twin to see whether the gold is the truth."""

from functools import cache
from random import Random

import pytest
import torch

from exegete.core.errors import UnknownName
from exegete.evaluate.truth.compiled import compiled, compiled_names
from exegete.evaluate.truth.compiled_brackets import balanced
from exegete.models.edges import edge_graph
from support.edge_twin import naive, named_edges

NAMES = compiled_names()
MAJOR, MINOR = 1.0, 0.4  # logits: what a gold edge moves the answer by at least, and any other edge at most
made = cache(compiled)


def ids_of(c, texts):
    return torch.tensor([c.model.tokenizer(t)["input_ids"] for t in texts])


def said(c, texts):
    with torch.no_grad():
        best = c.model.module(input_ids=ids_of(c, texts)).logits[:, -1].argmax(-1)
    return [c.model.tokenizer.decode([i]) for i in best.tolist()]


# -- the algorithms in plain words ---------------------------------------------------------------------------------------

ORDER = ("one", "two", "three", "four", "five", "six")
SIZE = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def copy(words):
    return words[ORDER.index(words[-1])]


def induction(words):
    return words[words.index(words[-1]) + 1]


def indirect_object(words):
    (receiver,) = {words[1], words[3]} - {words[6]}  # no answer where a third one gives
    return receiver


def comparison(words):
    return "more" if SIZE.index(words[0]) > SIZE.index(words[1]) else "less"


def brackets(words):
    text = "".join(words[:-1])
    while "()" in text:
        text = text.replace("()", "")
    return "no" if text else "yes"


def by_place(words):
    return words[-4]


SOLVE = {f.__name__: f for f in (copy, induction, indirect_object, comparison, brackets, by_place)}


def test_there_is_an_algorithm_for_every_model():
    assert set(SOLVE) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_task_is_solved_on_every_pair(name):
    c, solve = made(name), SOLVE[name]
    pairs = c.pairs(120, seed=3)
    clean = [p.clean.text for p in pairs]
    assert [p.answer for p in pairs] == [solve(t.split()) for t in clean] == said(c, clean)
    other = [p for p in pairs if "third" not in p.id]
    corrupt = [p.corrupt.text for p in other]
    assert [solve(t.split()) for t in corrupt] == said(c, corrupt)
    told = [p.against for p in other if "order" not in p.id or name == "induction"]
    assert told == [
        solve(p.corrupt.text.split()) for p in other if "order" not in p.id or name == "induction"
    ]


def test_all_numbers_and_all_brackets():
    c = made("comparison")
    texts = [f"{a} {b} is" for a in SIZE for b in SIZE if a != b]
    assert said(c, texts) == [comparison(t.split()) for t in texts]
    c = made("brackets")
    strings = ["".join("()"[i >> k & 1] for k in range(6)) for i in range(64)]
    texts = [f"{' '.join(s)} ?" for s in strings]
    assert said(c, texts) == [brackets(t.split()) for t in texts]
    assert [balanced(s) for s in strings] == [brackets(t.split()) == "yes" for t in texts]


def test_what_counts_places_repeats_no_other_rhythm_and_an_induction_head_every_one():
    letters, random = "abcdefghij", Random(0)
    for period, places in ((3, False), (4, True), (5, False)):
        texts, want = [], []
        for _ in range(20):
            some = random.sample(letters, period)
            texts.append(" ".join((some * 2)[: period + 2]))
            want.append(some[2 % period])
        assert said(made("induction"), texts) == want
        right = sum(a == b for a, b in zip(said(made("by_place"), texts), want))
        assert (right == 20) if places else (right < 5), period


def test_a_model_without_a_part_of_its_circuit_does_not_solve_it():
    for name in NAMES:
        c = compiled(name)
        layer, head = next(n for n in c.nodes if ".h" in n).split(".h")
        attn = c.model.module.transformer.h[int(layer)].attn
        width = attn.head_dim
        with torch.no_grad():
            attn.c_proj.weight[int(head) * width : (int(head) + 1) * width] = 0.0
        texts = [p.clean.text for p in c.pairs(48)]
        right = sum(a == SOLVE[name](t.split()) for a, t in zip(said(c, texts), texts))
        assert right < 44, name


# -- the gold, edge by edge ----------------------------------------------------------------------------------------------


@cache
def moved(name):
    """How far the answer moves, mean of |change| over pairs, when each edge alone carries the corrupt text: by the twin."""
    c = made(name)
    return patched(c, c.pairs(12, seed=1))


def patched(c, pairs):
    graph, module = edge_graph(c.model.map), c.model.module
    clean, corrupt = (
        ids_of(c, [t.text for t in ts]) for ts in ([p.clean for p in pairs], [p.corrupt for p in pairs])
    )
    at = torch.arange(len(pairs))
    right, wrong = (ids_of(c, [getattr(p, x) for p in pairs])[:, 1] for x in ("answer", "against"))
    told = lambda logits: logits[at, -1, right] - logits[at, -1, wrong]  # noqa: E731
    with torch.no_grad():
        base, given = told(naive(module, graph, clean)[0]), naive(module, graph, corrupt)[1]
        assert torch.allclose(base, told(module(input_ids=clean).logits), atol=1e-3)
        return {
            e: float((told(naive(module, graph, clean, {e}, given)[0]) - base).abs().mean())
            for e in named_edges(graph)
        }


def wrong_edges(effects, gold):
    """Edges that are gold and do nothing, or do something and are not gold."""
    idle = [e for e in gold if effects[e] < MAJOR]
    return idle + [e for e, x in effects.items() if e not in gold and x > MINOR]


@pytest.mark.parametrize("name", NAMES)
def test_every_gold_edge_moves_the_answer_and_no_other_one_does(name):
    assert len(moved(name)) >= 110
    assert wrong_edges(moved(name), set(made(name).edges)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_gold_with_an_edge_too_few_or_too_many_is_noticed(name):
    gold = set(made(name).edges)
    for e in gold:
        assert e in wrong_edges(moved(name), gold - {e})
    for e in list(set(moved(name)) - gold)[::7]:
        assert e in wrong_edges(moved(name), gold | {e})


def test_nodes_are_those_of_the_gold():
    c = made("indirect_object")
    assert c.nodes == ("0.h0", "1.h3", "2.h1")
    for name in NAMES:
        c = made(name)
        read = {r.removesuffix(".q").removesuffix(".k").removesuffix(".v") for _, r in c.edges} - {"logits"}
        assert read == set(c.nodes), name


# -- the rest ------------------------------------------------------------------------------------------------------------


def test_the_same_model_and_pairs_every_time_and_other_pairs_for_another_seed():
    a, b = compiled("copy"), compiled("copy")
    assert all(torch.equal(x, y) for x, y in zip(a.model.module.parameters(), b.model.module.parameters()))
    assert a.pairs(8) == b.pairs(8)
    assert a.pairs(8) != b.pairs(8, seed=1)


def test_making_one_leaves_the_random_state_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    compiled("comparison")
    assert torch.equal(before, torch.get_rng_state())


def test_the_residual_is_turned_so_that_no_axis_is_a_word():
    c = made("copy")
    embed = c.model.module.transformer.wte.weight
    assert float(embed.abs().max() / embed.norm(dim=1).max()) < 0.5


def test_pairs_have_texts_of_equal_length_and_all_kinds_in_both_halves():
    for name in NAMES:
        c = made(name)
        pairs = c.pairs(24)
        assert all(len(p.clean.text.split()) == len(p.corrupt.text.split()) for p in pairs)
        kinds = [p.id.split("/")[1].rsplit("-", 1)[0] for p in pairs]
        assert set(kinds[0::2]) == set(kinds[1::2]) == {k for k, _ in c.draws}


def test_an_unknown_name_gets_the_near_ones():
    with pytest.raises(UnknownName, match="induction"):
        compiled("inducton")


def test_draws_use_the_random_state_that_they_are_given():
    c = made("brackets")
    draw = c.draws[0][1]
    assert draw(Random(1)) == draw(Random(1))
