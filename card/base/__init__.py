"""What every room stands on: array libraries, units, data files, refusals in one sentence."""
