"""What an edit does to what a model says: about the fact, in other words, about other facts, and on other texts.

Said      a fact's prompt and paraphrases, each with the answer and the new answer, and its neighbours: one batch, one pass
Texts     held-out texts: their loss in nats a token, one pass
generated what the model writes after a prompt, sampled with a fixed draw among its five likeliest tokens; its n-gram
          entropy (`ops.rank_one`) falls when the model repeats itself

All of them are asked before an edit and inside of it; only the weights differ. Reference: Meng et al. 2022,
arXiv:2202.05262, sec. 3.3-3.4 (efficacy, paraphrase, neighbourhood, fluency).
"""

from collections.abc import Sequence

import numpy as np
import torch

from exegete.core.errors import InputError
from exegete.core.material import Fact
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.core.value import Value
from exegete.models.encode import limit
from exegete.models.lab import Aim, Lab

_TOP = 5  # likeliest tokens that generation draws from


class Heard(Value):
    """`probability` [prompt, 2] of (answer, new); `said` [prompt] new answer is first choice; `right` [neighbour]."""

    probability: np.ndarray
    said: np.ndarray
    right: np.ndarray


class Said:
    """The questions about a fact, ready to be asked of the model as it is.

    Raises `InputError` for a fact without a new answer, and `TargetError` for answers the model cannot be asked about.
    """

    def __init__(self, lab: Lab, fact: Fact) -> None:
        if not fact.new:
            raise InputError(
                f"You asked to edit the fact {fact.prompt!r}.",
                "It names no new answer.",
                "Say what the model is to answer: --new ANSWER, or Fact(..., new=...).",
            )
        if fact.new == fact.answer:
            raise InputError(
                f"You asked to edit the fact {fact.prompt!r}.",
                f"The new answer is the old one, {fact.new!r}.",
                "Give another new answer.",
            )
        self.lab, self.prompts = lab, (fact.prompt, *fact.paraphrases)
        near = tuple(fact.neighbours)
        texts = [*self.prompts, *self.prompts, *(p for p, _ in near)]
        answers = [fact.answer] * len(self.prompts) + [fact.new] * len(self.prompts) + [a for _, a in near]
        self.aim = lab.aim(texts, [Target(label=a, scale="logprob") for a in answers])

    def ask(self) -> Heard:
        """One pass."""
        likely, first = _heard(self.lab, self.aim)
        n = len(self.prompts)
        probability = np.stack([likely[:n], likely[n : 2 * n]], axis=1)
        return Heard(probability=probability, said=first[n : 2 * n], right=first[2 * n :])


class Texts:
    """Held-out texts, ready to be read by the model as it is."""

    def __init__(self, lab: Lab, texts: Sequence[str]) -> None:
        self.lab = lab
        self.reading = lab.read([Text(text=t, truncate=True) for t in texts])
        if max(self.reading.lengths) < 2:
            raise InputError(
                f"You asked for the loss on {len(texts)} texts.",
                "None of them has a second token to foretell.",
                "Give longer texts.",
            )

    def loss(self) -> float:
        """Mean -log p of each token after the first, nats. One pass."""
        ids, mask = self.reading.inputs["input_ids"], self.reading.mask
        logits = self.lab.run(self.reading.inputs).logits[:, :-1].float().log_softmax(-1)
        found = logits.gather(-1, ids[:, 1:, None])[..., 0]
        return float(-found[mask[:, 1:]].double().mean())


def generated(lab: Lab, prompt: str, n: int, *names: object) -> tuple[int, ...]:
    """`n` token ids that the model writes after `prompt`; the draw is the one called `names`. n passes."""
    ids = lab.read([prompt]).inputs["input_ids"]
    start, most = ids.shape[1], limit(lab.model)
    n = n if most is None else max(0, min(n, most - start))
    noise = torch.from_numpy(lab.rng("generate", *names).gumbel(size=(n, _TOP))).to(ids.device)
    for draw in noise:
        last = torch.tensor([[ids.shape[1] - 1]], device=ids.device)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        top = lab.run(inputs, rows=last).logits[0, -1].double().topk(min(_TOP, lab.model.vocabulary))
        chosen = top.indices[(top.values + draw[: len(top.values)]).argmax()]
        ids = torch.cat([ids, chosen.reshape(1, 1)], dim=1)
    return tuple(ids[0, start:].tolist())


def _heard(lab: Lab, aim: Aim) -> tuple[np.ndarray, np.ndarray]:
    """(probability [text] of each text's target, whether each of its tokens is the first choice [text])."""
    logits = aim.at_rows(lab.run(aim.inputs, rows=aim.positions).logits)
    logits = logits.float().log_softmax(-1).double()
    likely, first = [], []
    for row, wanted in zip(logits, aim.rows):
        ids = torch.tensor([w.id for w in wanted], device=row.device)
        own = row[: len(ids)]
        likely.append(float(own.gather(-1, ids[:, None]).sum().exp()))
        first.append(bool((own.argmax(-1) == ids).all()))
    return np.array(likely), np.array(first, dtype=bool)
