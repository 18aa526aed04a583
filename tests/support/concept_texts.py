"""Texts that praise and blame things, as labelled pairs of two data sets."""

from exegete.core.material import Marked
from exegete.terrarium import lexicon as lex

FRAMES = ("the {} was {}", "we saw a {} that is {}", "a {} looks {} today")


def texts(sets=("one", "two"), n=30):
    """Good and bad things; the id names the data set and the pair."""
    nouns, found = lex.OBJECTS + lex.SITES, []
    for s, name in enumerate(sets):
        for i in range(n):
            for word, label in ((lex.GOOD[i % 15], "good"), (lex.BAD[i % 15], "bad")):
                found.append(Marked.of(FRAMES[s].format(nouns[i], word), label, f"{name}:{i}"))
    return found
