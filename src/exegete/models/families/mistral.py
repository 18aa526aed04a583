"""Mistral: Llama with a sliding attention window."""

from exegete.models.table import Family, llama_stack

FAMILY = Family("mistral", ("mistral",), (llama_stack(),))
