"""A language model as the writer of summaries: it sums up n-grams, and writes the texts that a summary is tested on.

1. the k highest n-grams are listed; it is asked for `n` different descriptions of what they share;
2. for each description it writes `n_texts` sentences that fit it and as many that do not;
3. sentences that it has written for the other side, twice, or that stand among the texts to explain, are left out; the others are dealt
   in turn to the half to choose on and the half to judge on.

An answer that is no list, or leaves fewer than two sentences a side and half, cannot be used and is counted in `failed`.
Cost: 1 answer a module and 2 a candidate. Reference: Singh et al. 2023, arXiv:2305.09863.
"""

from collections.abc import Sequence

from exegete.models.chat.base import Chat
from exegete.ops.ngram_summary import Candidate
from exegete.ops.replies import listed
from exegete.ops.summarize_score import LEAST, Scored, Sides, Writer

SUM_UP = (
    "Here are phrases that share something:\n{phrases}\n\nWhat is common to them? Give {n} different short descriptions of the"
    " common theme, from narrow to wide, as a numbered list without other words."
)
FITS = (
    "Write {n} different short sentences that are clearly about this theme: {told}\nGive a numbered list of sentences without other"
    " words."
)
OTHERS = (
    "Write {n} different short sentences that have nothing to do with this theme: {told}\nGive a numbered list of sentences without"
    " other words."
)
TOKENS_A_LINE = 40


class ChatWriter(Writer):
    """Sums up and writes texts by asking `chat`. `seen`: texts that it must not be tested on."""

    def __init__(self, chat: Chat, seen: Sequence[str], n_texts: int = 20, seed: int = 0) -> None:
        self.failed, self.chat, self.n_texts, self.seed = 0, chat, n_texts, seed
        self.seen = frozenset(seen)

    def candidates(self, found: Scored, module: int, k: int, n: int) -> tuple[Candidate, ...]:
        """As it describes the highest n-grams; none where its answer is no list."""
        phrases = "\n".join(f"- {found.ngrams[i]}" for i in found.top(module, k))
        told = self._list(SUM_UP.format(phrases=phrases, n=n), n)
        return tuple(Candidate((), t) for t in dict.fromkeys(told))

    def sides(self, candidate: Candidate) -> tuple[Sides, Sides] | None:
        """Sentences that it writes for and against the description."""
        plus, minus = (
            self._list(ask.format(n=self.n_texts, told=candidate.told), self.n_texts)
            for ask in (FITS, OTHERS)
        )
        both = set(plus) & set(minus)
        kept = [[t for t in dict.fromkeys(s) if t not in self.seen and t not in both] for s in (plus, minus)]
        if min(map(len, kept)) < 2 * LEAST:
            self.failed += bool(plus) and bool(minus)  # what is no list was counted before
            return None
        first, second = ((tuple(kept[0][h::2]), tuple(kept[1][h::2])) for h in (0, 1))
        return first, second

    def _list(self, ask: str, n: int) -> tuple[str, ...]:
        reply = self.chat.say(ask, max_tokens=TOKENS_A_LINE * n, seed=self.seed)
        found = listed(reply.text)
        if found is None:
            self.failed += 1
            return ()
        whole = found[:-1] if reply.cut else found  # the last line of a cut answer is no sentence
        return tuple(whole[:n])
