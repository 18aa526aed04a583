"""DeBERTa v2 and v3: content-position attention over bucketed distances.

Keys are scaled between projection and product, and enter a second product unscaled; q, k and v are therefore read where
they are made, at the projections.
"""

from dataclasses import replace

from exegete.models.table import Family, Head, bert_block, bert_stack

PLAIN = bert_block(tail=1)
BLOCK = replace(PLAIN, attn=replace(PLAIN.attn, qkv=("query_proj", "key_proj", "value_proj")))
FAMILY = Family("deberta_v2", ("deberta-v2",), (bert_stack(BLOCK),), (Head(("cls.predictions",)),))
