"""Why a method is not scored: its own reason where there is one, else the kind of truth that its verb would need."""

from exegete.core.method import Method
from exegete.evaluate.truth.study_truths import NO_TRUTH
from exegete.methods.contracts.study import Study

BY_VERB = {
    "cloze": "a model that was taught a known set of facts, each with its wording",
    "edit": "a model whose facts are stored in known weights",
    "trace": "a model that recalls a fact at a known place",
    "patch": "a compiled model, with what each of its parts carries on a pair",
    "circuit": "a compiled model, with the property that is asked about known",
    "lens": "a model with a known guess in each layer",
    "attend": "a model whose attention is set by hand, and with it what of it is used",
    "heads": "heads that were set by hand to be of known kinds",
    "pairs": "a model with a known preference for each pair",
    "reason": "a model that is known to follow, or not to follow, its written reasons",
    "sanity": "a method with a known fault, as it judges methods rather than models",
    "probe": "an encoder in which a known property is linear, or absent, in each layer",
    "neurons": "neurons that were set by hand to a known property",
    "features": "activations that are sums of known directions",
    "concept": "an encoder with a known direction for a concept",
}


def wanted(method: Method) -> str:
    """In words, the truth that is missing, or why there can be none."""
    if method.id in NO_TRUTH:
        return f"not scored here: {NO_TRUTH[method.id]}"
    verb = method.verb if isinstance(method, Study) else ""
    return f"not scored here: it would need {BY_VERB.get(verb, 'a truth of its own kind, which is not planted yet')}"
