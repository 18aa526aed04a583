"""The model under study: loading, describing, reading, editing and scoring any Hugging Face transformer."""
