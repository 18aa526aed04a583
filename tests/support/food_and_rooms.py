"""Texts of food and of rooms: one word of five says which."""

from random import Random

from exegete.core.material import Marked

FOOD, ROOM = ("soup", "bread"), ("bed", "lamp")
OTHER = ("the", "a", "was", "here", "and", "we", "they", "near")


def food_and_rooms(n: int) -> list[Marked]:
    """`n` different texts with their labels."""
    random, found = Random(0), {}
    while len(found) < n:
        label = ("food", "room")[len(found) % 2]
        words = [*random.sample(OTHER, 4), random.choice(FOOD if label == "food" else ROOM)]
        random.shuffle(words)
        found[" ".join(words)] = label
    return [Marked.of(t, label) for t, label in found.items()]
