"""Which slots of a question each stack of its model reads, in order.

Slots are numbered through source and target (`question`). A classifier whose decoder reads the text again (T5, BART) has no
slots for the decoder: it reads those of the text, one place to the right, after a start token that is no slot.
"""

import numpy as np

from exegete.models.question import Question


def stack_slots(q: Question) -> tuple[np.ndarray, np.ndarray]:
    """Slots of the places of the main stack or encoder, and of a decoder beside it (empty where there is none); -1 for a place
    that is no slot.
    """
    main = np.flatnonzero(~q.dec)
    return main, np.concatenate([[-1], main[:-1]]) if q.model.rereads else np.flatnonzero(q.dec)
