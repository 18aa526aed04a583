"""ELECTRA: BERT's blocks behind embeddings of another width."""

from exegete.models.table import Family, Head, bert_stack

HEAD = Head(("generator_predictions", "generator_lm_head"))
FAMILY = Family("electra", ("electra",), (bert_stack(),), (HEAD,))
