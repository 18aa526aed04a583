"""Transcoder: what a part of the model does, written as few out of many features that read its input and write its output.

The same as a sparse autoencoder, but it reads one place and stands for another, by default what enters and leaves the
feed-forward part of the middle layer. So a feature says both what it looks for and what it adds, and the part can be replaced
by it. The component control is the best linear map of as many directions (reduced-rank regression).

Cost: as `sparse_autoencoder`. Reference: Dunefsky et al. 2024, arXiv:2406.11944.
"""

from typing import ClassVar

from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.site import Site
from exegete.methods.contracts.dictionaries import middle, place
from exegete.methods.features.dictionaries import DictionaryStudy
from exegete.models.lab import Lab


@register
class Transcoder(DictionaryStudy):
    """Which features a part makes of its input: a dictionary that reads one place and stands for another."""

    id: ClassVar[str] = "transcoder"
    reference: ClassVar[Reference] = Reference(
        authors="Dunefsky, Chlenski & Nanda", year=2024, title="Transcoders Find Interpretable LLM Feature Circuits",
        where="arXiv:2406.11944", equation="section 3",
    )  # fmt: skip
    site: str = Field(
        "middle", description="the place read; middle: what enters the feed-forward part of the middle layer"
    )
    site_out: str = Field(
        "middle", description="the place stood for; middle: what that part adds to the residual"
    )

    def sites(self, lab: Lab) -> tuple[Site, Site]:
        """What is read, and what is stood for."""
        ends = []
        for name, kind in ((self.site, "mlp_in"), (self.site_out, "mlp_add")):
            ends.append(place(lab.model, str(middle(lab.model, kind)) if name == "middle" else name))
        return ends[0], ends[1]

    @property
    def asked_site(self) -> str:
        """The place read, by name."""
        return self.site
