"""Truths for clozes, prompts and minimal pairs: models that hold known facts in known wordings (`planted_facts`).

    cloze_facts         half of the facts asked for are held
    hypernymy           of half of the words the kind is held, in both forms
    quantifier_cloze    of half of the nouns the property is held, and "no" turns it round
    optiprompt, autoprompt   facts are held in a wording that the written prompts do not have; the search must bring them out
    prompt_probe        half of the prompts are worded as the model is asked
    prefix_probe        one head of eight carries the class: its gate must be the last to close
    minimal_pairs       in half of the pairs the model prefers the sentence said to be bad

Controls: the same model with randomised weights; for searches and prefixes a relation, or labels, with nothing to be learned.
Cost: that of the studies. References: Petroni et al. 2019; Ravichander et al. 2020; Zhong et al. 2021; Shin et al. 2020.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from exegete.core.material import Fact, Marked, Minimal
from exegete.core.results.truth import TruthRow
from exegete.core.seed import generator
from exegete.evaluate.truth.planted_facts import Holds, bigrams, carried, dealt, knows
from exegete.evaluate.truth.quiet import SHARP
from exegete.evaluate.truth.study_truth import Draw, StudyTruth, truth_row
from exegete.methods.contracts.study import Study
from exegete.methods.probing.autoprompt import AutoPrompt
from exegete.methods.probing.cloze_facts import ClozeFacts
from exegete.methods.probing.hypernymy import Hypernymy
from exegete.methods.probing.minimal_pairs import MinimalPairs
from exegete.methods.probing.optiprompt import OptiPrompt
from exegete.methods.probing.prefix_probe import PrefixProbe
from exegete.methods.probing.prompt_probe import PromptProbe
from exegete.methods.probing.quantifier_cloze import QuantifierCloze
from exegete.models.model import Model
from exegete.models.randomise import randomised
from exegete.terrarium.inflect import plural

NAME, SAYS = (
    "known facts",
    "language models that hold half of the facts they are asked for, in known wordings",
)
DRAWS = 3
PREFIXES = 8  # one answer each: three that are right could be luck
BLIND = "the same of randomised weights"
PEOPLE = (
    "ada",
    "ben",
    "cleo",
    "dan",
    "eve",
    "finn",
    "gail",
    "hugo",
    "iris",
    "jack",
    "kate",
    "liam",
    "mona",
    "ned",
    "olga",
    "paul",
)
PETS = ("cat", "dog", "crow", "goat")
KINDS = {
    "tool": ("hammer", "ladder", "shovel", "drill"),
    "flower": ("rose", "tulip", "daisy", "lily"),
    "bird": ("crow", "robin", "duck", "swan"),
}
LIKE = {"soup": "warm", "stone": "hard", "feather": "light", "lemon": "sour", "night": "dark", "river": "wet"}
SAID = {
    "praise": ("lovely", "splendid", "superb", "charming"),
    "blame": ("awful", "dull", "shabby", "horrid"),
}
ANSWERS = {"praise": "good", "blame": "bad"}


def _half(random: Random, things: Sequence[str]) -> frozenset[str]:
    return frozenset(random.sample(list(things), len(things) // 2))


def _rows(
    study: Study,
    measure: str,
    chance: float,
    items: int,
    ask: Callable[[int, bool], tuple[float, Any]],
    seed: int,
    trials: int = 0,
) -> tuple[TruthRow, ...]:
    """The row of a study that is asked about a model and about its randomised twin; `trials` left out: an answer an item."""
    draws = []
    for draw in (1000 * seed + i for i in range(DRAWS)):
        value, cost = ask(draw, False)
        draws.append(Draw(value, ask(draw, True)[0], cost, items, trials=trials or items))
    return (truth_row(study, NAME, measure, draws, chance, BLIND),)


def _seen(model: Model, blind: bool) -> Model:
    return randomised(model) if blind else model


def _cloze_facts(seed: int) -> tuple[TruthRow, ...]:
    def ask(draw: int, blind: bool) -> tuple[float, Any]:
        random = Random(f"facts-{draw}")
        told = dealt(random, PEOPLE, PETS)
        held = _half(random, PEOPLE)
        model = knows(
            "facts", (*PEOPLE, *PETS, "keeps"), PEOPLE, [Holds(("keeps",), {p: told[p] for p in held})]
        )
        facts = [Fact(prompt=f"{p} keeps", subject=p, answer=told[p][0], relation="keeps") for p in PEOPLE]
        found: Any = ClozeFacts(seed=draw)(_seen(model, blind), facts)
        right = [(f.rank == 1) == (f.prompt.split()[0] in held) for f in found.filled]
        return float(np.mean(right)), found.cost

    return _rows(ClozeFacts(), "facts told to be held or not", 0.5, len(PEOPLE), ask, seed)


def _hypernymy(seed: int) -> tuple[TruthRow, ...]:
    pairs = [(w, kind) for kind, own in KINDS.items() for w in own]

    def ask(draw: int, blind: bool) -> tuple[float, Any]:
        held = _half(Random(f"kinds-{draw}"), [w for w, _ in pairs])
        one = Holds(("a",), {w: (k,) for w, k in pairs if w in held})
        many = Holds(("are",), {plural(w): (plural(k),) for w, k in pairs if w in held})
        forms = [x for w, k in pairs for x in (w, k)]
        words = (*dict.fromkeys((*forms, *map(plural, forms), "a", "is", "are")),)
        subjects = [x for w, _ in pairs for x in (w, plural(w))]
        model = knows("kinds", words, subjects, [one, many])
        with TemporaryDirectory() as folder:
            path = Path(folder) / "kinds.jsonl"
            path.write_text("\n".join(json.dumps({"word": w, "kind": k}) for w, k in pairs), encoding="utf-8")
            found: Any = Hypernymy(words=str(path), k=1, seed=draw)(_seen(model, blind))
        right = [bool(c) == (w in held) for w, c in zip(found.words, found.consistent)]
        return float(np.mean(right)), found.cost

    return _rows(Hypernymy(), "kinds told to be held or not", 0.5, len(pairs), ask, seed)


def _quantifiers(seed: int) -> tuple[TruthRow, ...]:
    def ask(draw: int, blind: bool) -> tuple[float, Any]:
        held = _half(Random(f"properties-{draw}"), tuple(LIKE))
        many = {noun: plural(noun) for noun in LIKE}
        holds = Holds(("are",), {many[n]: (LIKE[n],) for n in LIKE if n in held})
        words = (*many.values(), *LIKE.values(), "are", "all", "most", "some", "no")
        model = knows("properties", words, tuple(many.values()), [holds], denied="no")
        with TemporaryDirectory() as folder:
            path = Path(folder) / "properties.jsonl"
            rows = [json.dumps({"noun": n, "property": p}) for n, p in LIKE.items()]
            path.write_text("\n".join(rows), encoding="utf-8")
            found: Any = QuantifierCloze(words=str(path), seed=draw)(_seen(model, blind))
        known = np.array([n in held for n in found.nouns])
        asked = np.array([q != "no" for q in found.quantifiers])[:, None]
        planted = np.where(known, np.where(asked, 1.0, 0.0), 0.5)
        return float((np.abs(found.above - planted) < 0.25).mean()), found.cost

    measure = "properties told to be held, denied or unknown"
    return _rows(QuantifierCloze(), measure, 0.5, len(LIKE), ask, seed)  # half of them are unknown


def _searched(study: Callable[[int], Study]) -> Callable[[int], tuple[TruthRow, ...]]:
    """Facts held in one wording are brought out of people that the search never saw; those that are not held are not."""

    def rows(seed: int) -> tuple[TruthRow, ...]:
        draws = []
        for draw in (1000 * seed + i for i in range(DRAWS)):
            random = Random(f"searched-{draw}")
            told, other = dealt(random, PEOPLE, PETS), dealt(random, PEOPLE, PETS)
            model = knows(
                "searched", (*PEOPLE, *PETS, "keeps", "owns", "has"), PEOPLE, [Holds(("keeps",), told)]
            )
            facts = [
                Fact(prompt=f"{p} owns", subject=p, answer=of[p][0], relation=name)
                for name, of in (("held", told), ("not held", other))
                for p in PEOPLE
            ]
            found: Any = study(draw)(model, facts)
            draws.append(
                Draw(
                    float(found.found[0]),
                    float(found.found[1]),
                    found.cost,
                    len(facts),
                    float(found.majority[0]),
                    trials=int(found.n[0]),
                )
            )
        measure, control = "held facts brought out of people not seen", "facts that are not held"
        return (truth_row(study(0), NAME, measure, draws, None, control),)

    return rows


def _prompts(seed: int) -> tuple[TruthRow, ...]:
    templates = (
        "{text} was {label}",
        "{text} in short {label}",
        "{text} seemed {label}",
        "{text} i say {label}",
    )
    last = tuple(t.split()[-2] for t in templates)
    subjects = tuple(w for own in SAID.values() for w in own)

    def ask(draw: int, blind: bool) -> tuple[float, Any]:
        random = Random(f"prompts-{draw}")
        heard = _half(random, last)
        holds = Holds(tuple(heard), {w: (ANSWERS[c],) for c, own in SAID.items() for w in own})
        plain = ("the", "room", "film", "food", "and", "staff", "in", "i")
        model = knows("prompts", (*subjects, *ANSWERS.values(), *plain, *last), subjects, [holds], firm=SHARP)
        items = [
            Marked.of(" ".join([*random.sample(plain, 3), word, random.choice(plain)]), c)
            for c, own in SAID.items()
            for word in own * 3
        ]
        words = tuple(f"{c}={w}" for c, w in ANSWERS.items())
        found: Any = PromptProbe(templates=templates, words=words, seed=draw)(_seen(model, blind), items)
        right = [(raw > 0.75) == (w in heard) for raw, w in zip(found.raw, last)]
        return float(np.mean(right)), found.cost

    return _rows(PromptProbe(), "prompts told to work or not", 0.5, 24, ask, seed, len(templates))


def _minimal_pairs(seed: int) -> tuple[TruthRow, ...]:
    nouns = ("cats", "dogs", "crows", "goats", "cat", "dog", "crow", "goat")
    verbs = ("sleep", "sleeps")

    def ask(draw: int, blind: bool) -> tuple[float, Any]:
        random = Random(f"pairs-{draw}")
        right = _half(random, nouns)
        good = {n: verbs[0] if n.endswith("s") else verbs[1] for n in nouns}
        likes = {n: good[n] if n in right else next(v for v in verbs if v != good[n]) for n in nouns}
        model = bigrams("pairs", ("the", *nouns, *verbs), likes)
        pairs = [
            Minimal(good=f"the {n} {good[n]}", bad=f"the {n} {next(v for v in verbs if v != good[n])}")
            for n in nouns
        ]
        found: Any = MinimalPairs(seed=draw)(_seen(model, blind), pairs)
        told = [(g > b) == (n in right) for n, g, b in zip(nouns, found.good, found.bad)]
        return float(np.mean(told)), found.cost

    return _rows(MinimalPairs(), "preferences told as they are", 0.5, 2 * len(nouns), ask, seed, len(nouns))


def _prefix(seed: int) -> tuple[TruthRow, ...]:
    """Where the gate of the one head that carries the class stands among the gates of all."""
    subjects = {w: ANSWERS[c] for c, own in SAID.items() for w in own}
    plain = ("the", "room", "film", "food", "and", "staff")
    draws = []
    for draw in (1000 * seed + i for i in range(PREFIXES)):
        random = Random(f"prefix-{draw}")
        place = random.randrange(2), random.randrange(4)
        model = carried("carried", (*subjects, *ANSWERS.values(), *plain, "so"), subjects, "so", plain, place)
        texts = [
            " ".join([*random.sample(plain, 3), word, "so"]) for word in (*subjects, *subjects, *subjects)
        ]
        labels = [subjects[t.split()[3]] for t in texts]
        values, cost = [], None
        for shuffled in (False, True):
            if shuffled:
                random.shuffle(labels)
            study = PrefixProbe(
                n_slots=1, n_steps=20, n_gate_steps=60, n_points=2, n_random=2, batch=24, seed=draw
            )
            found: Any = study(model, [Marked.of(t, c) for t, c in zip(texts, labels)])
            own, others = found.gates[place], np.delete(found.gates.ravel(), 4 * place[0] + place[1])
            values.append(float((own > others).mean() + (own == others).mean() / 2))
            cost = cost or found.cost
        draws.append(Draw(values[0], values[1], cost, len(texts)))
    # one gate among eight: few places that random ones would take too, and so random places decide
    luck = generator(seed, "random places").integers(0, 8, (2, 5000, PREFIXES)).mean(2) / 7
    value, blind = (float(np.mean(x)) for x in zip(*((d.value, d.control) for d in draws)))
    low, high = np.quantile(luck[0], [0.025, 0.975])
    less, more = np.quantile(luck[0] - luck[1], [0.025, 0.975])
    over = (value - high, value - low), (value - blind - more, value - blind - less)
    measure, control = (
        "heads whose gate is closed further than that of the one that carries the class",
        "shuffled labels",
    )
    return (truth_row(PrefixProbe(), "known head", measure, draws, 0.5, control, *over),)


TRUTHS: dict[str, StudyTruth] = {
    "cloze_facts": StudyTruth(NAME, SAYS, _cloze_facts),
    "hypernymy": StudyTruth(NAME, SAYS, _hypernymy),
    "quantifier_cloze": StudyTruth(NAME, SAYS, _quantifiers),
    "optiprompt": StudyTruth(
        NAME, SAYS, _searched(lambda d: OptiPrompt(n_slots=1, n_steps=60, rate=0.1, batch=16, seed=d))
    ),
    "autoprompt": StudyTruth(
        NAME, SAYS, _searched(lambda d: AutoPrompt(n_slots=1, n_steps=3, n_candidates=8, seed=d))
    ),
    "prompt_probe": StudyTruth(NAME, SAYS, _prompts),
    "prefix_probe": StudyTruth(
        "known head", "a language model in which one head of eight carries the class", _prefix
    ),
    "minimal_pairs": StudyTruth(NAME, SAYS, _minimal_pairs),
}
NO_TRUTH: dict[str, str] = {}
