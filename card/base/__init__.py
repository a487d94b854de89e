"""What every room stands on: array libraries, units, data files, refusals in one sentence."""

DISTRIBUTION = "card-split-learning"
"""What the package is called where packages are installed from."""
