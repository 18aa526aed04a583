"""Does an explanation say what the model does? One metric a file."""
