"""Llama: rotary positions, RMS norms, gated feed-forward, shared key-value heads."""

from exegete.models.table import Family, llama_stack

FAMILY = Family("llama", ("llama",), (llama_stack(),))
