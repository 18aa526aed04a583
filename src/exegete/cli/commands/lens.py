"""`exegete lens`: what would each layer say?"""

from exegete.cli.study import verb

lens = verb("lens", "logit_lens", "Read the model's guess after every layer, and what each part adds to it.")
