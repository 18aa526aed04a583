"""One view a result type: what it shows as plain data, drawn for the terminal and, by a template, as HTML."""
