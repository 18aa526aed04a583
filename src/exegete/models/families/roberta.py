"""RoBERTa and XLM-RoBERTa: BERT's blocks, positions counted after the padding."""

from exegete.models.table import Family, Head, bert_stack

FAMILY = Family("roberta", ("roberta", "xlm-roberta", "camembert"), (bert_stack(),), (Head(("lm_head",)),))
