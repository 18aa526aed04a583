"""Multiple choice: how does a model go from the content of the right option to its letter?

1. every fact becomes a question with lettered options: its answer among answers of its neighbours; and the same question
   with the options turned by one, so that the correct letter is another;
2. accuracy over the letters, with the question and without it (what the options alone give away);
3. each head's output at the last token is taken from the turned question: the change of
   logit(correct letter) - logit(turned letter) says which heads bring the letter (all heads of a layer in one batch,
   resumed at the layer);
4. where those heads look: attention from the last token to each option (its letter and content);
5. how low the rank is of what the first of them reads: the keys of the options are cut to their leading directions
   (singular vectors of the centred keys over all questions), and what stays of the logit difference is measured.

Controls: as many random heads patched together; random directions of the same rank. On a model that cannot do the task the
accuracy says so, and nothing else is worth reading.

Cost: 3 forwards, n_heads * n_layers / 2 forwards (resumed) and 2 forwards a rank, each a question. Reference: Lieberum et
al. 2023, "Does Circuit Analysis Interpretability Scale?" (arXiv:2307.09458), sec. 3-4.
"""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError, TargetError
from exegete.core.material import Fact
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.multiple_choice import MultipleChoice
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.mechanisms.choice_heads import Heads, Sheet, answers, read
from exegete.models.ask import one_token
from exegete.models.lab import Lab
from exegete.ops.stats import bootstrap_mean, share_interval


@register
class MultipleChoiceStudy(Study):
    """Which heads bring the letter of the right option to the end of a multiple-choice prompt, and what they read."""

    id: ClassVar[str] = "multiple_choice"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H17",)
    verb: ClassVar[str] = "heads"
    asks: ClassVar[Any] = "facts"
    finds: ClassVar[type] = MultipleChoice
    tasks: ClassVar[tuple[str, ...]] = ("causal",)
    reference: ClassVar[Reference] = Reference(
        authors="Lieberum et al.", year=2023, where="arXiv:2307.09458", equation="sec. 3-4",
        title="Does Circuit Analysis Interpretability Scale? Evidence from Multiple Choice Capabilities in Chinchilla",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "n_layers * n_heads / 2 + 2 * ranks + 3 forwards a fact"
    question: str = Field("question: {prompt} ?\n", description="the question; {prompt} is the fact's prompt")
    option: str = Field("{letter}: {content}\n", description="one option; {letter} and {content} are put in")
    end: str = Field("answer:", description="what stands after the options")
    letters: tuple[str, ...] = Field(
        ("A", "B", "C", "D"), min_length=2, description="the letters, one token each"
    )
    n_top: int = Field(3, ge=1, le=64, description="heads that are looked at closely and patched together")
    ranks: tuple[int, ...] = Field((1, 2, 3, 6), min_length=1, description="ranks the keys are cut to")
    n_draws: int = Field(20, ge=2, le=1000, description="draws of random heads")
    seed: int = Field(0, description="seed of options, random heads and directions")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> MultipleChoice:
        """Over facts."""
        ids = self._letter_ids(lab)
        sheets = [self.sheet(lab, items, i) for i in range(len(items))]
        asked = [read(lab, s, ids, 0) for s in sheets]
        turned = [read(lab, self._turned(s), ids, 1) for s in sheets]
        blind = [read(lab, self._blind(s), ids, 0) for s in sheets]
        right = [answers(lab, a, ids) == s.right for a, s in zip(asked, sheets)]
        guessed = [answers(lab, b, ids) == s.right for b, s in zip(blind, sheets)]
        found = Heads(lab, asked, turned)
        effects = found.effects()
        order = np.argsort(-np.abs(effects.mean(0)).ravel(), kind="stable")[: self.n_top]
        top = tuple((int(i) // effects.shape[2], int(i) % effects.shape[2]) for i in order)
        joint, random = found.joint(top), self._random(lab, found, effects.shape[1:], len(top))
        kept, kept_random = found.ranks(top[0], self.ranks)
        return self._finding(
            lab, right, guessed, effects, top, found.looks(top), joint, random, kept, kept_random
        )

    def sheet(self, lab: Lab, facts: tuple[Fact, ...], i: int) -> Sheet:
        """The question of fact i. Raises `InputError` where there are too few different wrong answers."""
        fact, need = facts[i], len(self.letters) - 1
        near = [answer for _, answer in fact.neighbours]
        same = [f.answer for f in facts if f.relation == fact.relation]
        wrong = list(dict.fromkeys(a for a in [*near, *same, *(f.answer for f in facts)] if a != fact.answer))
        if len(wrong) < need:
            raise InputError(
                f"You asked for {len(self.letters)} options for {fact.prompt!r}.",
                f"Its neighbours and the other facts give {len(wrong)} wrong answers.",
                "Give more neighbours or facts, or fewer letters.",
            )
        draw = lab.rng("options", i)
        options = list(draw.permutation(wrong[: max(need, min(len(wrong), 2 * need))])[:need])
        right = int(draw.integers(len(self.letters)))
        return self._written(
            self.question.replace("{prompt}", fact.prompt),
            [*options[:right], fact.answer, *options[right:]],
            right,
        )

    def _written(self, question: str, contents: list[str], right: int) -> Sheet:
        text, spans = question, []
        for letter, content in zip(self.letters, contents):
            line = self.option.replace("{letter}", letter).replace("{content}", str(content))
            spans.append((len(text), len(text) + len(line.rstrip())))
            text += line
        return Sheet(text + self.end, tuple(spans), right)

    def _parts(self, sheet: Sheet) -> tuple[str, list[str]]:
        """The question and the contents of a sheet."""
        before = [self.option.replace("{letter}", x).split("{content}")[0] for x in self.letters]
        lines = [sheet.text[a:b] for a, b in sheet.spans]
        after = self.option.split("{content}")[1].rstrip()
        contents = [x[len(b) : len(x) - len(after)] for x, b in zip(lines, before)]
        return sheet.text[: sheet.spans[0][0]], contents

    def _turned(self, sheet: Sheet) -> Sheet:
        """Every option moves to the next letter."""
        question, contents = self._parts(sheet)
        return self._written(question, [contents[-1], *contents[:-1]], (sheet.right + 1) % len(contents))

    def _blind(self, sheet: Sheet) -> Sheet:
        _, contents = self._parts(sheet)
        return self._written("", contents, sheet.right)

    def _letter_ids(self, lab: Lab) -> list[int]:
        ids = [one_token(lab.model, x, self.end) for x in self.letters]
        if len(set(ids)) < len(ids):
            raise TargetError(
                f"You asked for the letters {', '.join(self.letters)}.",
                f"{lab.model.name} reads some of them as the same token.",
                "Choose other letters: letters=('a', 'b', 'c', 'd').",
            )
        return ids

    def _random(self, lab: Lab, found: Heads, shape: tuple[int, ...], k: int) -> np.ndarray:
        """Mean joint effects [draw] of k random heads."""
        draw, (layers, heads) = lab.rng("heads"), shape
        picks = [
            draw.choice(layers * heads, min(k, layers * heads), replace=False) for _ in range(self.n_draws)
        ]
        return np.array(
            [found.joint(tuple((int(i) // heads, int(i) % heads) for i in p)).mean() for p in picks]
        )

    def _finding(
        self, lab: Lab, right: list[bool], guessed: list[bool], effects: np.ndarray, top: tuple[tuple[int, int], ...],
        looks: np.ndarray, joint: np.ndarray, random: np.ndarray, kept: np.ndarray, kept_random: np.ndarray,
    ) -> MultipleChoice:  # fmt: skip
        accuracy = Score(
            name="accuracy over letters", value=float(np.mean(right)), chance=1 / len(self.letters),
            control=float(np.mean(guessed)), control_name="the options without the question",
            interval=share_interval(np.array(right, dtype=float)), n=len(right),
        )  # fmt: skip
        moved = Score(
            name=f"logit difference moved by {len(top)} heads", value=float(joint.mean()), chance=0.0,
            control=float(random.mean()), control_name="as many random heads", interval=bootstrap_mean(joint), n=len(joint),
        )  # fmt: skip
        can = accuracy.beats_chance and accuracy.beats_control
        names = ", ".join(f"{k}.h{h}" for k, h in top)
        lede = f"The model picks the right letter for {accuracy.value:.0%} of questions (chance {accuracy.chance:.0%}). "
        lede += (
            f"Heads {names} bring the letter; the first looks at the correct option with {looks[0, 0]:.0%} of its attention."
            if can
            else "It cannot do the task beyond chance or without the question, so its heads say nothing about how it is done."
        )
        return MultipleChoice(
            title="How does the model find the letter of the right option?",
            lede=lede,
            letters=self.letters,
            accuracy=accuracy.value,
            accuracy_blind=float(np.mean(guessed)),
            effect=effects.mean(0),
            top=top,
            looks=looks,
            ranks=self.ranks,
            kept=kept,
            kept_random=kept_random,
            trust=Trust(scores=(accuracy, moved)),
        )
