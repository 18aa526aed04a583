"""Judging explanations: metrics, the trust line, comparisons and suites."""
