"""English inflection by rule, with a table of exceptions: plural, third person and past tense."""

VOWELS = "aeiou"

IRREGULAR_PLURAL = {
    "man": "men", "woman": "women", "child": "children", "foot": "feet", "mouse": "mice", "goose": "geese",
    "sheep": "sheep", "fish": "fish", "knife": "knives", "shelf": "shelves", "wolf": "wolves", "loaf": "loaves",
    "leaf": "leaves", "scarf": "scarves", "potato": "potatoes", "tomato": "tomatoes", "hero": "heroes",
    "fisherman": "fishermen", "salesman": "salesmen", "repairman": "repairmen",
}  # fmt: skip

IRREGULAR_PAST = {
    "buy": "bought", "bring": "brought", "eat": "ate", "drink": "drank", "see": "saw", "read": "read",
    "write": "wrote", "sell": "sold", "take": "took", "find": "found", "hear": "heard", "sing": "sang",
    "teach": "taught", "give": "gave", "send": "sent", "keep": "kept", "make": "made", "leave": "left",
    "lose": "lost", "run": "ran", "sleep": "slept", "swim": "swam", "sit": "sat", "stand": "stood",
    "speak": "spoke", "fly": "flew", "grow": "grew", "drive": "drove", "ride": "rode", "meet": "met",
    "go": "went", "say": "said", "think": "thought", "feel": "felt", "know": "knew", "hide": "hid",
    "win": "won", "throw": "threw", "choose": "chose", "hold": "held", "lend": "lent", "build": "built",
    "draw": "drew", "catch": "caught", "wear": "wore", "pay": "paid", "hit": "hit", "tell": "told",
    "stop": "stopped", "shop": "shopped", "plan": "planned", "chat": "chatted", "prefer": "preferred",
    "upset": "upset", "come": "came", "dig": "dug", "begin": "began", "have": "had", "fall": "fell",
    "hop": "hopped", "cost": "cost", "drop": "dropped", "nod": "nodded", "wrap": "wrapped", "regret": "regretted",
    "sew": "sewed", "break": "broke", "shine": "shone", "wake": "woke", "cut": "cut", "put": "put", "show": "showed", "hum": "hummed",
}  # fmt: skip


def plural(noun: str) -> str:
    """The plural of a singular noun: `plural("dish") == "dishes"`."""
    if noun in IRREGULAR_PLURAL:
        return IRREGULAR_PLURAL[noun]
    return _add_s(noun)


def third(verb: str) -> str:
    """The third person singular present: `third("carry") == "carries"`."""
    return "has" if verb == "have" else _add_s(verb)


def past(verb: str) -> str:
    """The past tense: `past("like") == "liked"`, `past("buy") == "bought"`."""
    if verb in IRREGULAR_PAST:
        return IRREGULAR_PAST[verb]
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in VOWELS:
        return verb[:-1] + "ied"
    return verb + "ed"


def _add_s(word: str) -> str:
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    if word.endswith(("s", "sh", "ch", "x", "z")) or word == "go":
        return word + "es"
    return word + "s"
