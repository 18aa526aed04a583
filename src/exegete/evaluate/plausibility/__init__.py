"""Metrics that ask whether an explanation singles out what people marked."""
