"""Metrics that ask whether an explanation stays where it should."""
