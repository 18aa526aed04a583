"""Studies worked on in stretches where items differ from each other: the whole is the whole, wherever it is cut.

Each pair, fact or text is a stretch of its own here, so that nothing can be taken from a neighbour.
"""

import numpy as np
import pytest

import exegete as xg
from contract.test_divided import merged, rows_of, same
from exegete.core.errors import InputError
from exegete.core.job import ModelRef
from exegete.core.material import Fact, Pair
from exegete.core.target import Target
from exegete.methods.contracts.studying import Studying, divided
from exegete.methods.mechanisms.activation_patching import ActivationPatching
from exegete.methods.mechanisms.attribution_patching import AttributionPatching
from exegete.methods.mechanisms.causal_tracing import CausalTracing
from exegete.methods.mechanisms.circuit_faithfulness import CircuitFaithfulness, load_circuit
from exegete.methods.mechanisms.circuit_pairs import read_pairs
from exegete.methods.mechanisms.circuit_runs import Judge
from exegete.methods.mechanisms.circuit_study import Halves
from exegete.methods.mechanisms.edge_attribution_patching import EdgeAttributionPatching
from exegete.methods.mechanisms.ffn_keys import FfnKeys
from exegete.methods.mechanisms.knowledge_neurons import KnowledgeNeuronStudy
from exegete.methods.mechanisms.layer_removal import LayerRemovalStudy
from exegete.methods.mechanisms.node_patching import NodePatching
from exegete.methods.mechanisms.path_patching import PathPatching
from exegete.methods.mechanisms.rank_one_edit import RankOneEdit
from exegete.models.edges import edge_graph
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny

CLEAN, CORRUPT = (12, 20, 30, 40, 50, 33), (12, 20, 31, 40, 50, 33)


@pytest.fixture(scope="module")
def model():
    return load(tiny("gpt2"))


def pair(clean, corrupt, *answers):
    return Pair.of(xg.Text(ids=clean), xg.Text(ids=corrupt), *answers)


def cut_everywhere(study, model, items, folder):
    rows = rows_of(study, items)
    return merged(study, model, rows, list(range(1, len(rows))), folder)


@pytest.mark.parametrize("study", [ActivationPatching(), AttributionPatching(n_exact=8, n_steps=2)])
def test_pairs_of_other_lengths_are_told_by_role_wherever_they_are_cut(model, study, tmp_path):
    """A stretch of one pair cannot know whether tokens or roles are looked at."""
    pairs = [
        pair(CLEAN, CORRUPT, (21,), (22,)),
        pair((9, *CLEAN), (9, *CORRUPT), (21,), (22,)),
        Pair.of("mary saw john"),
    ]
    whole, again = study(model, pairs), cut_everywhere(study, model, pairs, tmp_path)
    assert whole.grids[0].axis == "role"
    assert [s.n_failed for s in again.trust.scores] == [1] * len(again.trust.scores)  # no corrupt text
    same(whole, again)


@pytest.mark.parametrize("cls", [ActivationPatching, AttributionPatching])
def test_pairs_of_one_length_are_told_by_token(model, cls, tmp_path):
    study = cls(direction="noising")
    pairs = [pair(CLEAN, CORRUPT, (21,), (22,)), pair(CORRUPT, CLEAN, (24,), (25,))]
    whole = study(model, pairs)
    assert whole.grids[0].axis == "token"
    same(whole, cut_everywhere(study, model, pairs, tmp_path))


@pytest.mark.parametrize("corruption", ["text", "noise", "resample"])
@pytest.mark.parametrize("cls", [ActivationPatching, AttributionPatching])
def test_what_needs_other_pairs_is_not_divided(cls, corruption):
    study = cls(corruption=corruption)
    job = Studying(model=ModelRef(source="tiny"), method=study.id, params=study.params())
    assert divided(study) is (corruption == "text") is (job.part is not None)
    assert bool(job.whole) is (corruption != "text")


@pytest.mark.parametrize("study", [NodePatching(), PathPatching()])
def test_answers_alone_are_measured_where_one_pair_has_no_other(model, study, tmp_path):
    """The answer of the second pair is its foil, so that nothing but the answer can be measured on both."""
    pairs = [pair(CLEAN, CORRUPT, (21,), (22,)), pair(CORRUPT, CLEAN, (23,), (23,))]
    whole = study(model, pairs)
    same(whole, cut_everywhere(study, model, pairs, tmp_path))
    alone = study(model, [pair(CLEAN, CORRUPT, (21,), (21,)), pairs[1]])
    same(whole, alone)


def test_the_same_draws_in_another_order(model):
    """Noise belongs to a text, not to its place."""
    texts = [xg.Text(ids=CLEAN), xg.Text(ids=CORRUPT[:4]), xg.Text(ids=(7, 8, 9))]
    one, other = (LayerRemovalStudy(swap=False)(model, t) for t in (texts, texts[::-1]))
    np.testing.assert_allclose(one.kl_noise, other.kl_noise[:, ::-1], rtol=1e-4, atol=1e-6)


def test_a_fact_that_cannot_be_asked_is_counted_and_told(model, tmp_path):
    study = KnowledgeNeuronStudy(known_only=False, n_steps=3, n_draws=2)
    long = "the cat sat on the mat " * 100
    facts = [
        Fact(prompt="mary went to the", subject="mary", answer="river"),
        Fact(prompt=f"{long} mary went", subject="mary", answer="mat"),
        Fact(prompt="john gave a", subject="john", answer="cat"),
    ]
    whole, again = study(model, facts), cut_everywhere(study, model, facts, tmp_path)
    assert all(s.n_failed == 1 for s in again.trust.scores)
    same(whole, again)


def test_a_prefix_that_comes_again_in_another_stretch_is_one_trigger(model, tmp_path):
    study = FfnKeys(n_units=8, n_triggers=4, n_draws=2)
    texts = ["the cat sat on the mat", "the cat sat on a river", "john", "the cat sat on the mat"]
    whole, again = study(model, texts), cut_everywhere(study, model, texts, tmp_path)
    assert whole.n_places == again.n_places
    same(whole, again)


FACTS = (
    Fact(prompt="mary went to the", subject="mary", answer="river"),
    Fact(prompt=f"{'the cat sat on the mat ' * 100} mary went", subject="mary", answer="mat"),
    Fact(prompt="john gave a", subject="john", answer="cat"),
    Fact(prompt="the dog saw", subject="dog", answer="a"),
)


def test_facts_are_traced_apart_where_the_noise_is_that_of_the_vocabulary(model, tmp_path):
    study = CausalTracing(noise_from="vocabulary", known_only=False, n_samples=2)
    whole, again = study(model, FACTS), cut_everywhere(study, model, FACTS, tmp_path)
    assert all(s.n == 3 and s.n_failed == 1 and s.control is not None for s in again.trust.scores[:-1])
    assert any("was not traced" in n for n in again.trust.notes)
    same(whole, again)
    other = CausalTracing(noise_from="vocabulary", known_only=False, n_samples=2, seed=1)(model, FACTS)
    with pytest.raises(AssertionError):
        same(whole, other)


@pytest.mark.parametrize("noise_from", ["subjects", "vocabulary"])
def test_noise_scaled_by_all_subjects_is_not_divided(noise_from):
    study = CausalTracing(noise_from=noise_from)
    job = Studying(model=ModelRef(source="tiny"), method=study.id, params=study.params())
    assert divided(study) is (noise_from == "vocabulary")
    assert ("noise_from=vocabulary" in job.whole) is (noise_from == "subjects")


def test_facts_of_which_none_is_known_are_refused_wherever_they_are_cut(model, tmp_path):
    study = CausalTracing(noise_from="vocabulary", n_samples=1)
    with pytest.raises(InputError, match="prefers another answer"):
        cut_everywhere(study, model, [FACTS[0], FACTS[2]], tmp_path)


EDIT = RankOneEdit(layer=1, token="last", n_corpus=40, n_held_out=2, n_steps=3, n_generated=3, n_prefixes=2)


def test_facts_are_edited_apart_where_it_is_said_where(model, tmp_path):
    facts = [f.model_copy(update={"new": "the" if i else "cat"}) for i, f in enumerate(FACTS)]
    facts.append(FACTS[0])  # names no new answer
    whole, again = EDIT(model, facts), cut_everywhere(EDIT, model, facts, tmp_path)
    assert all(s.n_failed == 2 for s in again.trust.scores)
    assert sum("was not edited" in n for n in again.trust.notes) == 2
    same(whole, again)
    alone = EDIT(model, facts[2])
    same(alone.cases[0], again.cases[1])
    with pytest.raises(InputError, match="names no new answer"):
        cut_everywhere(EDIT, model, [FACTS[0], FACTS[2]], tmp_path)


@pytest.mark.parametrize(
    ("how", "word"), [({}, ""), ({"layer": None}, "trials"), ({"token": "auto"}, "trials"), ({"together": True}, "on top")]
)  # fmt: skip
def test_edits_that_need_other_facts_are_not_divided(how, word):
    study = EDIT.model_copy(update=how)
    assert divided(study) is not bool(how)
    assert word in study.whole and bool(study.whole) is bool(how)


FEW = {"n_draws": 2, "n_dropped": 5, "n_sizes": 3}


@pytest.fixture(scope="module")
def circuit(model, tmp_path_factory):
    pairs = [pair(CLEAN, CORRUPT, (21,), (22,)), pair(CORRUPT, CLEAN, (24,), (25,))]
    path = tmp_path_factory.mktemp("circuit") / "saved.exg"
    EdgeAttributionPatching(n_edges=20, n_top=2, ig_steps=0, **FEW)(model, pairs).save(path)
    return str(path)


def judged_at_once(study, model, pairs):
    """The same circuits run by one judge on all pairs."""
    lab, graph = Lab(model), edge_graph(model.map, model.name)
    keep, scores = load_circuit(study.circuit, graph, model.name)
    read = read_pairs(lab, pairs, Target())
    judge = Judge(lab, graph, read, study.ablation)
    title = "Is the circuit faithful, complete and minimal?"
    return study.finding(
        Halves(graph, judge, judge, read, True), keep, scores, np.full(keep.shape, np.nan), title
    )


@pytest.mark.parametrize("ablation", ["corrupt", "zero"])
@pytest.mark.parametrize("foil", [22, 21])
def test_a_saved_circuit_is_judged_on_pairs_apart(model, circuit, ablation, foil, tmp_path):
    """With a pair whose answer is its foil, the answers of all are measured alone."""
    study = CircuitFaithfulness(circuit=circuit, ablation=ablation, **FEW)
    pairs = [pair(CLEAN, CORRUPT, (21,), (foil,)), pair(CORRUPT, CLEAN, (24,), (25,))]
    pairs.append(pair(CLEAN[:4], CORRUPT[:4], (26,), (27,)))
    whole = study(model, pairs)
    same(whole, cut_everywhere(study, model, pairs, tmp_path))
    truth = judged_at_once(study, model, pairs)
    for f in ("full", "empty", "value", "curve", "random", "loss"):
        np.testing.assert_allclose(getattr(whole, f), getattr(truth, f), rtol=1e-4, atol=1e-5)
    same(whole.trust, truth.trust)
    assert whole.cost.forwards < 1.1 * sum(study(model, p).cost.forwards for p in pairs)


def test_circuits_that_must_be_found_and_means_over_texts_are_not_divided(circuit):
    assert divided(CircuitFaithfulness(circuit=circuit))
    assert not divided(CircuitFaithfulness())
    assert not divided(CircuitFaithfulness(circuit=circuit, ablation="mean"))


def test_pairs_judged_with_another_circuit_are_refused(model, circuit, tmp_path):
    study = CircuitFaithfulness(circuit=circuit, **FEW)
    pairs = [pair(CLEAN, CORRUPT, (21,), (22,)), pair(CORRUPT, CLEAN, (24,), (25,))]
    parts = study.work(Lab(model), tuple(pairs), Target())
    with pytest.raises(InputError, match="were not run"):
        study.model_copy(update={"n_draws": 3}).merge(Lab(model), tuple(pairs), parts, Target())
