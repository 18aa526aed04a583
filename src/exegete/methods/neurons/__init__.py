"""What single units do: which matter, when they fire, in words."""
