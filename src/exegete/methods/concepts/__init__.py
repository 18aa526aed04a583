"""Directions with names: are they there, are they used, what happens along them?"""
