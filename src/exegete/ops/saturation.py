"""From which layer on the guess stays: when a computation could have stopped, and what stopping early saves.

`tops` [layer, position] holds the most probable token after each layer; the last row is what is finally said.

settled    the first layer from which every guess is the final one (Geva et al. 2022, sec. 6: saturation)
shuffled   where that layer would lie, on average, if the guesses before the last came in random order: with a of m earlier
           guesses right, a random order ends in a / (m - a + 1) right ones on average
stops      a rule that needs no look ahead: stop once the guess was the same for `patience` layers in a row
elsewhere  how often a guess is the final one when every position stops where another one did (the same layers spent)

Cost: O(layers * positions) numbers, no model.
"""

import numpy as np


def settled(tops: np.ndarray) -> np.ndarray:
    """The first layer [position] from which every guess is the final one; the last layer where none before is."""
    wrong = tops != tops[-1]
    last_wrong = len(tops) - 1 - np.argmax(wrong[::-1], 0)
    return np.where(wrong.any(0), last_wrong + 1, 0)


def shuffled(tops: np.ndarray) -> np.ndarray:
    """The expected layer [position] of `settled` when the rows before the last come in random order."""
    right, earlier = (tops[:-1] == tops[-1]).sum(0), len(tops) - 1
    return earlier - right / (earlier - right + 1)


def stops(tops: np.ndarray, patience: int) -> np.ndarray:
    """The layer [position] at which the guess was the same for `patience` layers in a row; the last layer where it never was."""
    found = np.full(tops.shape[1], len(tops) - 1)
    run = np.ones(tops.shape[1], dtype=int)
    for layer in range(len(tops)):
        if layer:
            run = np.where(tops[layer] == tops[layer - 1], run + 1, 1)
        now = (run >= patience) & (layer < found)
        found = np.where(now, layer, found)
    return found


def agreement(tops: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Whether the guess at the layer of `stop` [position] is the final one [position]."""
    return tops[stop, np.arange(tops.shape[1])] == tops[-1]


def elsewhere(tops: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """The chance [position] of being right with the layer of a random position's stop."""
    share = np.bincount(stop, minlength=len(tops)) / len(stop)
    return share @ (tops == tops[-1])


def saved(layers: np.ndarray, n_layers: int) -> np.ndarray:
    """The share of layers that need not be run when stopping after each of `layers`."""
    return (n_layers - 1 - layers) / n_layers
