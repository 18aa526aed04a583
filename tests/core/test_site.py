"""Sites print and parse back; TransformerLens names mean the same places; what is not a site is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.core.errors import UnknownName, UsageError
from exegete.core.site import MODEL_KINDS, SITE_KINDS, Site

small = st.integers(0, 99)
maybe = st.none() | small


@given(
    st.sampled_from(sorted(SITE_KINDS)),
    small,
    maybe,
    maybe,
    st.none() | st.integers(-9, 99),
    st.sampled_from(["", "enc", "dec"]),
)
def test_print_and_parse_are_inverse(kind, layer, head, unit, position, stack):
    site = Site(kind, None if kind in MODEL_KINDS else layer, head, unit, position, stack)
    assert Site.parse(str(site)) == site


@pytest.mark.parametrize(
    ("alias", "site"),
    [
        ("blocks.4.attn.hook_pattern", "4.pattern"),
        ("blocks.0.hook_mlp_out", "0.mlp_add"),
        ("encoder.1.hook_resid_post", "enc.1.resid_post"),
        ("pattern.4", "4.pattern"),
        ("head_out.2.7", "2.head_out[h7]"),
        ("hook_embed", "embed"),
    ],
)
def test_aliases(alias, site):
    assert str(Site.parse(alias)) == site


@pytest.mark.parametrize(
    "wrong", ["", "4.patern", "pattern", "4.logits", "4.pattern[x3]", "4.pattern[h1,h2]", "a b"]
)
def test_refused(wrong):
    with pytest.raises(UsageError):
        Site.parse(wrong)


def test_a_misspelt_kind_lists_near_ones():
    with pytest.raises(UnknownName, match="pattern"):
        Site.parse("4.patern")
