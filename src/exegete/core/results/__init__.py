"""Result types beyond the first floor's own: one file a family of results, found by name when a file is opened."""
