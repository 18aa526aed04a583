"""The vocabulary: names, contracts, registry, results, store, errors. No torch, no transformers, no model."""
