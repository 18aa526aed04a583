"""Sparse autoencoder: a place of the model written as a sum of few out of many directions, each of which may mean something.

1. activations of a corpus at the place are streamed through a bounded, shuffled buffer;
2. a dictionary learns to give them back from few features (`ops.dictionary`, `ops.dictionary_training`);
3. on texts that were held out: loss recovered (the reconstruction is put into the model), variance explained, how often
   features are on, how many never are; beside random directions, principal components and the shuffled model;
4. the features that carry most, with the tokens they are strongest on and what they do to the logits.

A saved one is opened instead (`saved`); one made for another model, place or width is refused.
Cost: one forward a text to learn from, the same for the shuffled model, six a held-out text.
Reference: Bricken et al. 2023, "Towards Monosemanticity"; the kinds as in `ops.dictionary`.
"""

from typing import ClassVar

from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.site import Site
from exegete.methods.contracts.dictionaries import place
from exegete.methods.features.dictionaries import DictionaryStudy
from exegete.models.lab import Lab


@register
class SparseAutoencoder(DictionaryStudy):
    """Into which features an activation falls apart: a sparse autoencoder trained or opened, and judged on held-out texts."""

    id: ClassVar[str] = "sparse_autoencoder"
    reference: ClassVar[Reference] = Reference(
        authors="Bricken et al.", year=2023,
        title="Towards Monosemanticity: Decomposing Language Models With Dictionary Learning",
        where="transformer-circuits.pub",
    )  # fmt: skip
    site: str = Field(
        "middle", description="the place, such as 2.resid_post; middle: the residual after the middle layer"
    )

    def sites(self, lab: Lab) -> tuple[Site, Site]:
        """The place twice."""
        found = place(lab.model, self.site)
        return found, found

    @property
    def asked_site(self) -> str:
        """The place by name."""
        return self.site
