"""Layer probe: how well can labels of words, pairs of words or whole texts be read off each layer, beside what reads no layer?

1. read all texts once (and once more by the model with randomised weights): the vectors of every mark, after the embeddings and
   after every layer; a word is its last token, a text the mean of its tokens, a pair both vectors and their product;
2. for every seed: split texts into training, development and test; fit a linear probe (multinomial logistic) or an MLP, or a
   ridge regression where labels are numbers; penalties, stopping and the best layer are chosen on development texts;
3. beside it, always: the most frequent label; the most frequent label of each word (whole texts: bag of words); the control
   task, labels drawn at random for each word (selectivity = the difference); the randomised twin; the neighbours' labels;
4. the profile over layers with its interval over seeds and texts, and its centre of gravity: the expected layer of what the
   layers add to the embeddings.

What is labelled is yours: part of speech, names, relations, question types, truth, numbers, places. A treebank is labelled by
`task` (`core.annotations`).

Cost: 2 forwards a text; layers x seeds x 5 small fits. Shapes: `core.results.layer_profile`.
Reference: Belinkov 2022; Hewitt & Liang 2019 (control tasks); Kunz & Kuhlmann 2020 (neighbours); Tenney et al. 2019 (centre).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from exegete.core.annotations import marks_of
from exegete.core.material import Marked, Parsed
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.layer_profile import LayerProfile
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Trust
from exegete.methods.contracts.harvested import Harvested
from exegete.methods.probing.profiled import Settings, pooling, profiled, told
from exegete.methods.probing.rows import LEVELS, asked, refuse
from exegete.models.harvest import layer_sites
from exegete.models.harvested import Tables
from exegete.models.lab import Lab


@register
class LayerProbe(Harvested):
    """How well labels can be read off each layer, beside the most frequent label, words alone, a control task and randomised weights."""

    id: ClassVar[str] = "layer_probe"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E1", "E2", "E3", "E4", "E5", "E9", "E10", "E14", "E23", "E32", "E36", "G8")  # fmt: skip
    verb: ClassVar[str] = "probe"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "word"
    least: ClassVar[int] = 3
    finds: ClassVar[type] = LayerProfile
    home: ClassVar[str] = "terrarium/encoder"
    reference: ClassVar[Reference] = Reference(
        authors="Belinkov", year=2022, title="Probing Classifiers: Promises, Shortcomings, and Advances", where="Computational Linguistics 48(1)",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    passes: ClassVar[str] = (
        "2 a text (the model and its randomised twin); then layers * n_seeds * 5 small fits"
    )
    task: str = Field("", description="what is read off a treebank: pos, chunk, relation, feature:NAME, voice, tense, depth, ...; empty: pos")  # fmt: skip
    label: str = Field(
        "", description="what the labels are, in words, for titles; empty: the task of a treebank, or 'label'"
    )
    probe: Literal["linear", "mlp"] = Field(
        "linear", description="the probe of classes; numbers are read by ridge regression"
    )
    hidden: int = Field(64, ge=1, le=4096, description="hidden units of an MLP probe")
    site: str = Field("resid_post", description="what is read in every layer: resid_post, attn_out, mlp_out, z, mlp_act, ...")  # fmt: skip
    pool: Literal["auto", "last", "first", "mean", "max"] = Field(
        "auto", description="tokens of a mark to one vector; auto: the last of a word, the mean of a text"
    )
    n_seeds: int = Field(
        3, ge=1, le=100, description="splits of the texts, each with a control task of its own"
    )
    min_count: int = Field(
        10, ge=1, le=100_000, description="classes with fewer examples are left out and counted"
    )
    most_rows: int = Field(
        12_000, ge=10, le=10_000_000, description="examples probed; more are left out, by whole texts"
    )
    places: bool = Field(False, description="labels are latitude and longitude: also tell the distance in km")
    seed: int = Field(0, description="seed of the splits, the control labels and the randomised weights")

    def where(self, lab: Lab) -> tuple[Site, ...]:
        """Every layer, and what enters the first."""
        return layer_sites(lab.model, self.site, self.site == "resid_post")

    def marked(self, item: Marked | Parsed) -> Marked | None:
        """What the task marks."""
        return marks_of(item, self.task or "pos", self.seed) if isinstance(item, Parsed) else item

    def pooling(self, items: Sequence[Marked]) -> str:
        """As the marks are of words, pairs or texts."""
        return pooling(self.pool, LEVELS[len(items[0].marks[0].spans)] if items else "word")

    def found(
        self, lab: Lab, items: tuple[Marked | Parsed, ...], tables: Tables, target: Target
    ) -> LayerProfile:
        """The profile over layers. Raises `InputError` for too few classes or texts, `UnknownName` for an unknown task.

        Raises `UsageError` for a task of texts that are no treebank, and for a label that is the name of a task.
        """
        refuse(items, self.task, self.label)
        ask = asked(items, self.task or "pos", self.seed, self.min_count, self.most_rows, self.label)
        how = Settings(self.probe, self.site, self.pool, self.n_seeds, self.hidden, self.places, self.seed)
        found = profiled(lab, tables, ask, how)
        return LayerProfile(
            title=f"Which layer knows the {ask.what}?",
            lede=told(found),
            trust=Trust(scores=found.scores, seed=self.seed, notes=found.notes),
            **found.fields,
        )
