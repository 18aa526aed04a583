"""Language models that write words for explanations: a local one, any OpenAI-compatible endpoint, or a replay."""
