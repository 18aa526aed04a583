"""Gemma: Llama with embeddings scaled by the root of the width and norm gains counted from one."""

from exegete.models.table import Family, llama_stack

FAMILY = Family("gemma", ("gemma",), (llama_stack(),))
