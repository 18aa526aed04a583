"""Qwen2: Llama with biases on queries, keys and values."""

from exegete.models.table import Family, llama_stack

FAMILY = Family("qwen2", ("qwen2",), (llama_stack(),))
