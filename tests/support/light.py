"""The smallest settings of a study that still exercise it, where its defaults are made for real models and texts."""

from exegete.methods.contracts.study import Study

# by name of the field; what a study does not have is left out
LIGHT: dict[str, object] = {
    "n_permutations": 20,
    "n_repeats": 2,
    "repeat_length": 6,
    "n_checkpoints": 3,
    "n_tokens": 8,
    "folder": "terrarium/repeats",
    "n_maps": 10,
    "n_twins": 1,
    "least_arcs": 2,
    "lrp": True,
    "n_points": 3,
    "n_queries": 4,
    "n_units": 16,
    "n_draws": 2,
    "n_ascent": 3,
    "n_top": 2,
    "ranks": (1, 2),
    "n_steps": 5,
    "n_slots": 2,
    "n_gate_steps": 2,
    "n_candidates": 2,
    "n_samples": 2,
    "known_only": False,
    "keep": (0.1, 0.5),
    "n_random": 4,
    "n_held_out": 2,
    "batch": 2,
    "n_corpus": 40,
    "n_trial": 1,
    "n_generated": 3,
    "letters": ("the", "was"),
    "n_greedy": 3,
    "largest": 2,
    "n_seeds": 2,
    "n_sets": 2,
    "doses": (-1.0, 1.0),
    "n_texts": 3,
    "least_accuracy": 0.0,
    "most_labels": 60,
    "code": "both",
    "project": 4,
    "hidden": 4,
    "n_nouns": 3,
    "explainers": ("saliency", "occlusion"),
    "truths": ("additive",),
    "fractions": (0.3,),
    "n_explained": 3,
    "fewest": 1,
    "noise_from": "vocabulary",
}
# by id of the study: what other studies mean something else by
OWN: dict[str, dict[str, object]] = {"rationale_counterfactual": {"words": ("on", "big", "food")}}


def light(cls: type[Study]) -> Study:
    """The study at its lightest."""
    told = {k: v for k, v in LIGHT.items() if k in cls.model_fields}
    return cls.build(told | OWN.get(cls.id, {}))  # type: ignore[return-value]
