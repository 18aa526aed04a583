"""How the model computes what it says: one file a method."""
