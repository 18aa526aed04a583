"""Questions about the invented world, with options and a chain: what reasoning in words is tried on without a large model.

    nora keeps a cat.                                    the question: another fact about the person
    nora works as a pilot. you can find nora in oakville.   the chain: yet another fact, then the one that is asked about
    nora lives in oakville.                              said again
    the home of nora is in                               what is asked, in yet another wording; options are things of the same kind

The embedded decoder learnt the facts of the people of its world, so that it can answer about them from the chain or from what it
knows; every other question is about a person it learnt nothing about (a name of its stories), for whom the chain alone tells.
Which of both an answer comes from is what the tests of chains of thought find out. The parts ask two facts one after the other.

Cost: none. Every set repeats for the same seed.
"""

from dataclasses import replace
from functools import cache
from random import Random

from exegete.core.material import Choice
from exegete.terrarium import facts
from exegete.terrarium import lexicon as lex

N_OPTIONS = 4


def questions(n: int, seed: int = 0) -> tuple[Choice, ...]:
    """`n` questions, no fact twice, dealt over the relations."""
    world = list(facts.world())
    Random(f"questions-{seed}").shuffle(world)
    strangers = list(lex.WOMEN + lex.MEN)
    Random(f"strangers-{seed}").shuffle(strangers)
    return tuple(
        _choice(f, strangers[i % len(strangers)] if i % 2 else "", seed) for i, f in enumerate(world[:n])
    )


def _choice(known: facts.Fact, stranger: str, seed: int) -> Choice:
    """The question about a fact, or about a stranger of whom the same is true."""
    draw = Random(f"question-{known.subject}-{known.relation}-{seed}")
    about = [
        _of(f, stranger) for f in facts.world() if f.subject == known.subject and f.relation != known.relation
    ]
    fact = _of(known, stranger)
    others = sorted(
        {f.object for f in facts.world() if f.relation == fact.relation} - {fact.object, fact.subject}
    )
    options = draw.sample([*draw.sample(others, N_OPTIONS - 1), fact.object], N_OPTIONS)
    lead, *forms = draw.sample(range(facts.FORMS), facts.FORMS)
    first, second = draw.sample(about, 2)
    return Choice(
        question=f"{_said(first, 0)}.",
        options=tuple(options),
        answer=fact.object,
        steps=tuple(f"{s}." for s in (_said(second, 0), _said(fact, forms[0]), _said(fact, forms[1]))),
        reworded=tuple(f"{s}." for s in (_said(second, 1), _said(fact, forms[2]), _said(fact, forms[3]))),
        parts=((_prompt(second, 0), second.object), (_prompt(fact, forms[0]), fact.object)),
        lead=_prompt(fact, lead),
        id=f"{fact.subject} {fact.relation}",
    )


@cache
def _said(fact: facts.Fact, form: int) -> str:
    return facts.statement(fact, form).text


@cache
def _prompt(fact: facts.Fact, form: int) -> str:
    """A wording up to its object."""
    told = facts.statement(fact, form)
    return told.without((len(told.words) - 1,))


def _of(fact: facts.Fact, stranger: str) -> facts.Fact:
    return replace(fact, subject=stranger) if stranger else fact
