"""What the rooms of methods share: the contracts. A room knows these, never another room."""
