"""Hypothesis draws the same examples on every run, so that a failure is everyone's failure."""

from hypothesis import settings

settings.register_profile("card", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("card")
