"""Ground truth: models whose mechanism is known because it was put there, and boards that hold methods against it.

from exegete.evaluate.truth import against_gold, circuit_board, compiled, compiled_names

gold = compiled("induction")                             the model, its circuit, pairs of texts
found = xg.study(gold.model, "acdc", gold.pairs())
against_gold(found, gold)                                AUROC (chance 0.5), precision, recall
circuit_board()                                          all methods on all compiled models

planted("ordered pair")                                  a classifier with words that decide, and texts that hold them
truth_board()                                            every method against every truth that can be planted for it
"""

from exegete.evaluate.truth.board import against_gold as against_gold
from exegete.evaluate.truth.board import circuit_board as circuit_board
from exegete.evaluate.truth.compiled import Compiled as Compiled
from exegete.evaluate.truth.compiled import compiled as compiled
from exegete.evaluate.truth.compiled import compiled_names as compiled_names
from exegete.evaluate.truth.every import truth_board as truth_board
from exegete.evaluate.truth.planted import Planted as Planted
from exegete.evaluate.truth.planted import planted as planted
from exegete.evaluate.truth.planted import planted_names as planted_names
