"""The command line: one file a verb, flags from the fields of the methods, letters instead of tracebacks."""
