"""Rationales of the terrarium are the truth: without their words the label is another, without any other word it stays."""

from exegete.terrarium import corpora
from exegete.terrarium.rationales import rationales


def test_rationales_decide_the_label():
    sentences = {e.sentence.text: e.sentence for e in corpora.sentiment(2000, "test", "rationales-0")}
    found = rationales(40)
    assert len(found) == len({r.text.text for r in found}) == 40
    assert sum(r.label == "positive" for r in found) == 20
    for r in found:
        s = sentences[r.text.text]
        marked = {i for i, span in enumerate(s.spans) if span in r.marks[0]}
        assert s.label == r.label
        assert s.label_without(marked) != r.label or len(s.evidence) > len(marked)
        others = set(range(len(s.words))) - set(s.roles)
        assert not others & marked
        assert s.label_without(others) == r.label
