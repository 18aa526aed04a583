"""DeBERTa: BERT's blocks with content-position attention; query, key and value fused per head."""

from exegete.models.table import Family, Head, bert_block, bert_stack

FAMILY = Family("deberta", ("deberta",), (bert_stack(bert_block(tail=1)),), (Head(("cls.predictions",)),))
