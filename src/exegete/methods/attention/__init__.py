"""Where heads look, what it is worth as an explanation, and what each head does: one file a method."""
