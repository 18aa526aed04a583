"""Writes docs/methods.md from the registries, so that the table cannot drift from the code. Run by `make docs`."""

from pathlib import Path

from exegete.core.registry import METHODS, METRICS

HEAD = """# Methods and metrics

Written by `make docs` from the code; do not edit. Every method is a frozen value: `xg.explain(model, text, "lime")` uses
its defaults, `xg.explain(model, text, xg.Lime(n_samples=512))` or `exegete explain ... --method lime --n-samples 512`
sets its parameters. Studies (those with a verb) are made by `xg.study(model, "layer_removal")` or `exegete VERB --method
layer_removal`. Costs are in passes of the model over one input.
"""

HEADINGS = {"attention": "Attention", "mechanism": "Studies of mechanisms"}


def entry(cls: type) -> str:
    """One method: what it does, its paper, cost, needs and parameters."""
    lines = [f"### `{cls.id}` ({cls.__name__})", "", cls.summary(), ""]
    lines.append(f"- **source** {cls.reference}")
    if hasattr(cls, "verb"):
        lines.append(f"- **verb** `exegete {cls.verb}`, asked about {cls.asks}")
        if cls.asks != "nothing":
            lines.append(f"- **over a data set** {cls.over_data}")
    lines.append(f"- **techniques** {', '.join(cls.techniques)}")
    if cls.passes:
        lines.append(f"- **cost** {cls.passes}")
    lines.append(f"- **needs** {', '.join(cls.needs)}")
    for name, info in cls.model_fields.items():
        lines.append(f"- `{name}` = `{info.get_default()!r}`: {info.description}")
    return "\n".join(lines)


def main() -> None:
    """Write the page."""
    parts = [HEAD]
    families = sorted({cls.family for _, cls in METHODS})
    for family in families:
        parts.append(f"## {HEADINGS.get(family, f'Attribution: {family}')}")
        parts += [entry(cls) for _, cls in METHODS if cls.family == family]
    parts.append("## Metrics")
    parts += [entry(cls) for _, cls in METRICS]
    path = Path(__file__).parent / "methods.md"
    path.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
