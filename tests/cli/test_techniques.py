"""The catalogue of techniques and its join with what is registered."""

from exegete.core.techniques import ELSEWHERE, join, techniques


def test_the_catalogue_is_whole():
    rows = techniques()
    assert len(rows) == 319
    assert sum(t.core for t in rows) == 114
    assert len({t.id for t in rows}) == 319
    assert all(t.name and t.section for t in rows)
    ig = next(t for t in rows if t.id == "A10")
    assert ig.core and "Integrated gradients" in ig.name and "Sundararajan" in ig.source


def test_join_names_what_implements_a_row():
    def thing(*rows):
        return type("Thing", (), {"techniques": rows})

    things = [("ig", thing("A10")), ("saig", thing("A10", "A11")), ("bare", object)]
    by = {c.technique.id: c.by for c in join(techniques(), things)}
    assert by["A10"] == ("ig", "saig") and by["A11"] == ("saig",)
    assert by["A12"] == () and by["A26"] == ELSEWHERE["A26"]


def test_what_is_elsewhere_and_registered_exists_in_the_catalogue():
    from exegete.core.registry import METHODS, METRICS

    known = {t.id for t in techniques()}
    assert set(ELSEWHERE) <= known
    named = {row for _, thing in [*METHODS, *METRICS] for row in getattr(thing, "techniques", ())}
    assert named <= known, named - known
