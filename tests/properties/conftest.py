"""Hypothesis draws the same examples on every run, so that a failure is everyone's failure.

`--hypothesis-profile=quick` draws the first few of them.
"""

from hypothesis import settings

settings.register_profile("card", deadline=None, derandomize=True, max_examples=100)
settings.register_profile("quick", settings.get_profile("card"), max_examples=20)
settings.load_profile("card")
