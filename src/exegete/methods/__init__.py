"""What to compute. Ten rooms that do not know each other; every file registers its method and is found by itself."""
