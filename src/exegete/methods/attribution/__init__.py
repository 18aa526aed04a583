"""Which input tokens: one method a file."""
