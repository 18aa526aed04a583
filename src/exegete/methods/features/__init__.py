"""Sparse features: dictionaries learned from activations."""
