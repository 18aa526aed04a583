"""One small table a family: a file here is found by its `FAMILY` and needs no other registration."""
