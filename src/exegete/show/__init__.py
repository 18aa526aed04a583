"""The pictures: any result drawn in a terminal, in a notebook and on a self-contained page, without model and torch."""
