"""Attention steering (PASTA): turn the attention of chosen heads to a span that is to be heeded, and see what is then said.

1. every item is a text, a span of it, and the answer that heeding the span would give. Facts with a new answer (causal
   models) become such a text: the new fact is stated, then asked, "{prompt} {new}. {prompt}";
2. attention to tokens outside of the span is multiplied by alpha, and the rows made to sum to 1 again (a row that sees none
   of the span stays); this is adding log(alpha) to their scores;
3. head profiling on a part of the items: each head alone is steered (all heads of a layer in one batch, resumed at the
   layer); those that raise the answer's log-probability most are kept, two fifths of all unless told otherwise;
4. on the other items these heads are steered together.

Controls: as many random heads on the same span; the same heads on another span of the same length. The finding of one text
is an edit that can be saved and applied.

Cost: a profiled item 1 + n_layers * n_heads / 2 forwards; every other 2 + 2 n_draws, in one batch. Reference: Zhang et al.
2023, "Tell Your Model Where to Attend" (arXiv:2311.02262), eq. 2 and sec. 3.2.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.errors import ExegeteError, InputError, TargetError
from exegete.core.material import Fact
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.steering import Steering, SteeringCase
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.models.capture import EditMap
from exegete.models.forward import pick
from exegete.models.lab import Aim, Lab
from exegete.models.rewrite import emphasised
from exegete.ops.stats import bootstrap_mean, share_interval

Heads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Item:
    """One text read: what is measured, the tokens of the span, and those a span may take (no special ones)."""

    name: str
    prompt: str
    span: str
    aim: Aim
    inside: tuple[int, ...]
    words: tuple[int, ...]


@register
class AttentionSteering(Study):
    """Turns the attention of profiled heads to a span of the text, and measures whether the model then heeds it."""

    id: ClassVar[str] = "attention_steering"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H29",)
    verb: ClassVar[str] = "edit"
    asks: ClassVar[Any] = "facts"
    home: ClassVar[str] = "terrarium/sentiment"
    finds: ClassVar[type] = Steering
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "sequence")
    reference: ClassVar[Reference] = Reference(
        authors="Zhang et al.", year=2023, where="arXiv:2311.02262", equation="eq. 2",
        title="Tell Your Model Where to Attend: Post-hoc Attention Steering for LLMs",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "n_layers * n_heads / 2 a profiled item, 2 * n_draws + 2 a scored one"
    alpha: float = Field(0.01, gt=0, le=1, description="factor of the attention to what is not emphasised")
    n_top: int | None = Field(
        None, ge=1, description="heads that are steered; none: two fifths of all, as published"
    )
    n_profile: int = Field(20, ge=1, description="most items on which heads are chosen (at most half of all)")
    n_draws: int = Field(20, ge=1, le=1000, description="draws of random heads and of other spans an item")
    statement: str = Field(
        "{prompt} {new}", description="what is emphasised where a fact has a new answer (causal models)"
    )
    template: str = Field("{statement}. {prompt}", description="the text that the statement stands in")
    seed: int = Field(0, description="seed of the split, the random heads and the other spans")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Steering:
        """Over texts with a span each."""
        read, failed = self._read(lab, items)
        order = [read[i] for i in lab.rng("split").permutation(len(read))]
        n = min(self.n_profile, max(1, len(order) // 2))
        with lab.working(n, "trying heads") as done:
            effect = np.mean([self._profile(lab, item, done) for item in order[:n]], axis=0)
        heads = self._chosen(effect)
        scored = order[n:] or order
        with lab.working(len(scored), "steering") as done:
            cases = [self._case(lab, item, heads, effect.shape, done) for item in scored]
        return self._finding(lab, cases, heads, effect, failed, shared=not order[n:])

    # ---- items -------------------------------------------------------------------------------------------------------

    def _read(self, lab: Lab, facts: tuple[Fact, ...]) -> tuple[list[Item], list[ExegeteError]]:
        found, failed = [], []
        for fact in facts:
            try:
                found.append(self.item(lab, fact))
            except (InputError, TargetError) as e:
                failed.append(e)
        if not found:
            raise failed[0]
        return found, failed

    def item(self, lab: Lab, fact: Fact) -> Item:
        """A fact as a text with a span and an answer. Raises `InputError` for a span that is no part of the text."""
        text, (start, end), wanted = fact.prompt, fact.span, fact.new or fact.answer
        if fact.new and lab.model.task == "causal":
            words = {"prompt": fact.prompt, "new": fact.new, "answer": fact.answer, "subject": fact.subject}
            statement = _filled(self.statement, words)
            text = _filled(self.template, words | {"statement": statement})
            start = text.find(statement)
            end = start + len(statement)
        aim = lab.aim([text], Target(label=wanted, scale="logprob"))
        tokens = aim.encoded[0].tokens
        words = tuple(i for i, t in enumerate(tokens) if not t.special)
        inside = tuple(i for i in words if tokens[i].end > start and tokens[i].start < end)
        whole = start >= 0 and len(inside) == len(words)
        if start < 0 or not inside or whole:
            raise InputError(
                f"You asked to emphasise {(text[start:end] if whole else fact.subject)!r} in {text!r}.",
                "It is all of the text." if whole else "It is no part of the text.",
                "Give a part of the text: --subject SPAN.",
            )
        return Item(fact.id or text, text, text[start:end], aim, inside, words)

    # ---- heads -------------------------------------------------------------------------------------------------------

    def _profile(self, lab: Lab, item: Item, done: Any) -> np.ndarray:
        """Gain [layer, head] in log-probability when each head alone is steered."""
        stack, n_layers = lab.model.map.stacks[-1], lab.model.map.n_layers
        patterns = [Site("pattern", layer=i, stack=stack) for i in range(n_layers)]
        entrances = [Site("resid_pre", layer=i, stack=stack) for i in range(n_layers)]
        rows = item.aim.positions
        seen = lab.run(item.aim.inputs, read=[*patterns, *entrances], rows=rows)
        base = float(item.aim.measure(seen.logits))
        gains = []
        for layer in range(n_layers):
            n = seen[patterns[layer]].shape[1]
            alone = torch.eye(n, dtype=torch.bool, device=lab.model.device)
            values: list[float] = []
            for part in lab.chunks(n, len(item.aim.tokens[0])):
                edit = self._edit(item, {layer: alone[part]}, [item.inside] * len(alone[part]), stack)
                resid = seen[entrances[layer]].expand(len(alone[part]), -1, -1)
                t = lab.resume(item.aim.inputs, layer, resid, stack=stack, edit=edit, rows=rows)
                values += item.aim.measure(t.logits).tolist()
            gains.append(np.array(values) - base)
        done()
        return np.stack(gains)

    def _chosen(self, effect: np.ndarray) -> Heads:
        """The heads with the largest gain, those that gain nothing left out (but for the best)."""
        most = self.n_top or max(1, 2 * effect.size // 5)
        order = np.argsort(-effect, axis=None, kind="stable")[:most]
        best = [(int(i) // effect.shape[1], int(i) % effect.shape[1]) for i in order]
        return tuple(sorted(h for k, h in enumerate(best) if k == 0 or effect[h] > 0))

    def _edit(
        self, item: Item, chosen: dict[int, Tensor], spans: list[tuple[int, ...]], stack: Any
    ) -> EditMap:
        """Emphasis with `chosen[layer]` [row, head] and the tokens `spans` of each row."""
        inside = torch.zeros(len(spans), len(item.aim.encoded[0].tokens), dtype=torch.bool)
        for row, span in enumerate(spans):
            inside[row, list(span)] = True

        def turn(heads: Tensor):
            def edit(pattern: Tensor) -> Tensor:
                width = pattern.shape[-1] - inside.shape[1]  # tokens of a longer answer follow
                keys = torch.nn.functional.pad(inside, (0, width))
                return emphasised(pattern, keys, heads, self.alpha)

            return edit

        return {Site("pattern", layer=i, stack=stack): turn(h) for i, h in chosen.items()}

    # ---- steering ----------------------------------------------------------------------------------------------------

    def _case(self, lab: Lab, item: Item, heads: Heads, shape: tuple[int, ...], done: Any) -> SteeringCase:
        """The item before, steered, and under each draw of the two controls: one batch."""
        rng = lab.rng("controls", item.prompt)
        others = _elsewhere(item, rng, self.n_draws)
        draws = [rng.choice(shape[0] * shape[1], len(heads), replace=False) for _ in range(self.n_draws)]
        masks = [_mask(shape, ()), _mask(shape, heads)]
        masks += [_mask(shape, tuple((int(i) // shape[1], int(i) % shape[1]) for i in d)) for d in draws]
        masks += [_mask(shape, heads)] * len(others)
        spans = [item.inside] * (2 + len(draws)) + others
        p, said = self._measured(lab, item, torch.stack(masks), spans)
        drawn = slice(2, 2 + len(draws))
        done()
        return SteeringCase(
            name=item.name, prompt=item.prompt, emphasised=item.span, wanted=item.aim.answers[0].strip(),
            positions=item.inside, before=float(p[0]), after=float(p[1]), random=float(p[drawn].mean()),
            elsewhere=float(p[2 + len(draws) :].mean()) if others else float("nan"),
            said=bool(said[1]), said_before=bool(said[0]), said_random=float(said[drawn].mean()),
        )  # fmt: skip

    def _measured(
        self, lab: Lab, item: Item, masks: Tensor, spans: list[tuple[int, ...]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(probability [row] of what is wanted, whether it is first choice [row]) for masks [row, layer, head]."""
        stack, found, said = lab.model.map.stacks[-1], [], []
        for part in lab.chunks(len(spans), len(item.aim.tokens[0])):
            chosen = {i: masks[part, i] for i in range(masks.shape[1])}
            edit = self._edit(item, chosen, spans[part], stack)
            n = len(spans[part])
            inputs = {k: v.expand(n, *v.shape[1:]) for k, v in item.aim.inputs.items()}
            at = None if item.aim.positions is None else item.aim.positions.expand(n, -1)
            logits = lab.run(inputs, edit=edit, rows=at).logits
            found += item.aim.measure(logits).exp().tolist()
            said += [_first(item.aim, row) for row in logits]
        return np.array(found), np.array(said)

    # ---- the finding -------------------------------------------------------------------------------------------------

    def _finding(
        self, lab: Lab, cases: list[SteeringCase], heads: Heads, effect: np.ndarray, failed: list[ExegeteError], shared: bool
    ) -> Steering:  # fmt: skip
        scores = _scores(cases, len(failed))
        gain = scores[0]
        mean = float(np.mean([c.before for c in cases]))
        lede = (
            f"With the attention of {len(heads)} of {effect.size} heads turned to the span, what is wanted has probability "
            f"{mean + gain.value:.2f} rather than {mean:.2f}; as many random heads make it {mean + (gain.control or 0.0):.2f}."
        )
        if not all(s.beats_control for s in scores if s.control is not None):
            lede += " It does not stand out from every control: read the scores."
        notes = [f"{e.asked} {e.found}" for e in failed[:5]]
        if shared:  # the best of all heads on this text: no control had that choice
            lede += " The heads were chosen on the very text that is scored; give several for a fair score."
        made = Steering(
            title="Does the model heed the span when its attention is turned there?",
            lede=lede, claim=f"the span is heeded in {len(cases)} texts", heads=heads, alpha=self.alpha,
            stack=lab.model.map.stacks[-1], effect=effect, cases=tuple(cases),
            trust=Trust(scores=scores, notes=tuple(notes)),
        )  # fmt: skip
        return made.only(0) if len(cases) == 1 else made


def _scores(cases: list[SteeringCase], n_failed: int) -> tuple[Score, ...]:
    gain = np.array([c.after - c.before for c in cases])
    apart = [c for c in cases if np.isfinite(c.elsewhere)]
    found = [
        Score(
            name="gain in probability of what is wanted", value=float(gain.mean()), chance=0.0,
            control=float(np.mean([c.random - c.before for c in cases])), control_name="as many random heads",
            interval=bootstrap_mean(gain), n=len(cases), n_failed=n_failed,
        )
    ]  # fmt: skip
    if apart:
        there = np.array([c.after - c.before for c in apart])
        found.append(
            Score(
                name="the same against another span", value=float(there.mean()), chance=0.0,
                control=float(np.mean([c.elsewhere - c.before for c in apart])), n=len(apart), n_failed=n_failed,
                control_name="the same heads turned to another span of the same length", interval=bootstrap_mean(there),
            )
        )  # fmt: skip
    said = np.array([c.said for c in cases], dtype=float)
    found.append(
        Score(
            name="texts answered as wanted", value=float(said.mean()), interval=share_interval(said), n=len(cases),
            n_failed=n_failed, chance=float(np.mean([c.said_before for c in cases])),
            control=float(np.mean([c.said_random for c in cases])), control_name="as many random heads",
        )
    )  # fmt: skip
    return tuple(found)


def _mask(shape: tuple[int, ...], heads: Heads) -> Tensor:
    mask = torch.zeros(shape[0], shape[1], dtype=torch.bool)
    for layer, head in heads:
        mask[layer, head] = True
    return mask


def _elsewhere(item: Item, rng: np.random.Generator, n: int) -> list[tuple[int, ...]]:
    """Draws of as many successive words somewhere else in the text; none where there is only this one place."""
    words, size = item.words, len(item.inside)
    starts = [i for i in range(len(words) - size + 1) if words[i : i + size] != item.inside]
    return [words[i : i + size] for i in rng.choice(starts, n)] if starts else []


def _first(aim: Aim, logits: Tensor) -> bool:
    """Whether all that is wanted is the first choice, from logits [row, vocab] or pooled [class]."""
    ids = [r.id for r in aim.rows[0]]
    if aim.positions is not None and logits.shape[0] != len(ids):
        logits = pick(logits[None], aim.positions.to(logits.device))[0]
    found = logits.argmax(-1).reshape(-1).tolist()
    return found == ids


def _filled(template: str, words: dict[str, str]) -> str:
    for name, word in words.items():
        template = template.replace("{" + name + "}", word)
    return template
