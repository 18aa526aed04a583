"""Self-consistency: a planted bag of words whose explanation hangs on the answer's word, or on another; the measure by brute force."""

from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.core.target import Target
from exegete.evaluate.reasons.self_consistency import SelfConsistencyStudy
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import Model
from exegete.ops.consistency import cosine, shares, shuffled
from exegete.terrarium.questions import questions


class Bag(nn.Module):
    """Logits after a text are the sum of the rows of its tokens: what each word contributes is known."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(table)
        self.config = PreTrainedConfig(vocab_size=len(table))  # pyright: ignore[reportCallIssue]

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def get_output_embeddings(self) -> None:
        return None

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, use_cache: bool = False
    ) -> SimpleNamespace:
        seen = self.table(input_ids)
        seen = seen if attention_mask is None else seen * attention_mask[..., None]
        return SimpleNamespace(logits=seen.cumsum(1))


def bag(*rows: tuple[str, str, float]) -> Model:
    """A decoder in which a word raises the logit of another by so much."""
    tokenizer = load("terrarium/decoder").tokenizer
    table = torch.zeros(len(tokenizer), len(tokenizer))
    for word, said, by in rows:
        table[ids(tokenizer, word), ids(tokenizer, said)] = by
    return Model(Bag(table), tokenizer, "causal", name="bag")


def ids(tokenizer, word: str) -> int:
    (found,) = tokenizer(word, add_special_tokens=False)["input_ids"]
    return found


ASKED = (
    Choice(question="mary the john", options=("bread", "soap"), steps=("gloves",), lead="a"),
    Choice(question="john the mary", options=("soap", "bread"), steps=("boats",), lead="a"),
)
# mary brings "bread" as the answer; what brings "gloves" as the explanation differs
SAME = (("mary", "bread", 6.0), ("mary", "gloves", 6.0), ("john", "boats", 6.0))
APART = (("mary", "bread", 6.0), ("john", "gloves", 6.0), ("mary", "boats", 6.0))


@pytest.mark.parametrize(("rows", "own"), [(SAME, 1.0), (APART, 0.0)])
def test_planted_words(rows, own):
    found = SelfConsistencyStudy().study(Lab(bag(*rows)), ASKED, Target())
    assert found.answers[0].endswith("bread")
    assert found.words[:4] == ("mary", "the", "john", "a")
    first = found.cosine[0]
    assert first[0] == pytest.approx(own, abs=0.02)
    assert first[2] == pytest.approx(
        1 - own, abs=0.02
    )  # the other question's explanation hangs on the other name


def test_an_explanation_that_is_the_answer_is_consistent_to_the_last_digit():
    """The same prompt and the same words: both rows are one, whatever the model."""
    model = load("terrarium/decoder")
    asked = [q.model_copy(update={"steps": (q.answer,), "reworded": ()}) for q in questions(6)[::2]]
    found = SelfConsistencyStudy(because="")(model, asked)  # it knows these facts: what it answers is right
    assert np.allclose(found.cosine[:, 0], 1.0, atol=1e-6)
    assert np.array_equal(found.to_answer, found.to_explanation)


def test_shuffled_words_by_all_orders():
    a, b = np.array([0.5, -0.2, 0.3, 0.0]), np.array([0.1, 0.4, -0.4, 0.1])
    by_hand = np.mean([cosine(a, b[list(p)]) for p in permutations(range(4))])
    assert shuffled(a, b) == pytest.approx(by_hand)
    assert np.isnan(cosine(a, np.zeros(4)))


def test_shares_by_hand():
    assert shares(np.array([[1.0, -3.0], [2.0, 2.0], [0.0, 0.0]])).tolist() == [0.375, -0.125]
    assert np.isnan(shares(np.zeros((2, 2)))).all()


def test_other_methods_and_letters():
    model = load("terrarium/decoder")
    found = SelfConsistencyStudy(method="input_x_gradient")(model, questions(3))
    assert found.cost.backwards > 0
    assert found.checks[0].passed
    long = [q.model_copy(update={"question": "the house " * 200}) for q in questions(2)]
    with pytest.raises(InputError, match="longer than it reads"):
        SelfConsistencyStudy()(model, long)


def test_questions_alone_give_the_whole():
    """Among them one that is not answered, and one whose explanation fits neither itself nor the question it is the control of."""
    model = load("terrarium/decoder")
    some = questions(4)
    long = some[3].model_copy(update={"steps": ("the house " * 200,)})
    silent = some[2].model_copy(update={"question": "the house " * 200})
    items = (*some[:2], silent, long)
    study, lab = SelfConsistencyStudy(method="input_x_gradient", n_tokens=200), Lab(model)
    with torch.no_grad():
        parts = [p for q in items for p in study.work(lab, (q,), Target())]
        found, whole = study.merge(lab, items, parts, Target(), 5), study.study(lab, items, Target())
    assert [(p.answer != "", p.long) for p in parts] == [
        (True, False),
        (True, False),
        (False, False),
        (True, True),
    ]
    assert np.allclose(found.to_other, whole.to_other) and np.allclose(found.cosine, whole.cosine)
    assert [(s.n, s.n_failed) for s in found.trust.scores] == [(1, 8)] * 2
