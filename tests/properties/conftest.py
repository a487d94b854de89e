"""Hypothesis draws the same examples on every run, so that a failure is everyone's failure.

`--hypothesis-profile=quick` draws the first few of them, `CARD_EXAMPLES=10000` as many as it says.
"""

import os

from hypothesis import settings

MANY = os.environ.get("CARD_EXAMPLES")

settings.register_profile(
    "card", deadline=None, derandomize=True, max_examples=int(MANY or 100), database=None
)
settings.register_profile("quick", settings.get_profile("card"), max_examples=int(MANY or 20))
settings.load_profile("card")
