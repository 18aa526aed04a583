"""Phi-3: Llama with fused query-key-value and gate-up matrices."""

from exegete.models.table import Family, llama_stack

FAMILY = Family("phi3", ("phi3",), (llama_stack(),))
