"""Can the explanation be used to say what the model will do: one study a file."""
