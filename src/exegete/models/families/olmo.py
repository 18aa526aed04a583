"""OLMo: Llama with parameterless layer norms."""

from exegete.models.table import Family, llama_stack

FAMILY = Family("olmo", ("olmo",), (llama_stack(),))
