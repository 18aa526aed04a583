"""The proof of a model as a table: one row a check, those that compare the same thing in different layers together."""

from collections.abc import Sequence
from typing import Any

from exegete.core.result import Listing
from exegete.models.model import Model
from exegete.models.prove import prove


def proof_listing(model: Model) -> Listing:
    """What was compared, the worst difference, what is allowed, and whether it held."""
    proof = prove(model)
    rows = tuple(_proof_row(same) for same in _grouped(proof.table()))
    refused = "".join(f" Refused: {site} ({why})." for site, why in proof.refused.items())
    held = sum(r.passed for r in proof.rows)
    return Listing(
        title=f"Proof of {proof.model} ({proof.family}, {proof.established})",
        columns=("check", "sites", "worst", "allowed", "result", "what was compared"),
        rows=rows,
        ok=proof.passed,
        footer=f"{held} of {len(proof.rows)} checks hold; {proof.sites} sites to read and edit; {proof.seconds:.1f} s.{refused}",
    )


def _grouped(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows of a proof that compare the same thing in different layers, together; what failed stands alone."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for r in rows:
        moved = r["check"] == "reach"
        key = (r["check"], "" if moved else r["words"], "" if r["passed"] else tuple(r["sites"]))
        groups.setdefault(key, []).append(r)
    return list(groups.values())


def _proof_row(same: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Cells of one line of the proof: the worst residual of the group, or, for edits, the least that one moved the logits."""
    first, sites = same[0], [s for r in same for s in r["sites"]]
    shown = ", ".join(sites) if len(sites) < 4 else f"{sites[0]} ... {sites[-1]} ({len(sites)})"
    if first["check"] == "reach":
        found, bound, words = min(r["error"] for r in same), "> 0", "an edit of each moves the logits"
    else:
        found, bound, words = max(r["error"] for r in same), f"<= {first['tolerance']:.0e}", first["words"]
    mark = "ok" if first["passed"] else "FAILED"
    return (first["check"], shown, f"{found:.1e}", bound, mark, words)
