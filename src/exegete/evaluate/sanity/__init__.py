"""Sanity checks of whole methods: does an explanation depend on what it must, and on nothing else?"""
