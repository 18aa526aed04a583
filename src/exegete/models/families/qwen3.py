"""Qwen3: Llama with norms on queries and keys."""

from exegete.models.table import Family, llama_stack

FAMILY = Family("qwen3", ("qwen3",), (llama_stack(),))
