"""BERT: post-norm encoder."""

from exegete.models.table import Family, Head, bert_stack

FAMILY = Family("bert", ("bert",), (bert_stack(),), (Head(("cls.predictions",)),))
