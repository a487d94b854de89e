"""The ergodic rate against arbitrary-precision arithmetic, over every channel that can occur."""

import numpy as np
import pytest

from card.channel import ergodic_rate_bps

mpmath = pytest.importorskip("mpmath")


def test_ergodic_rate_has_fourteen_digits_over_eighteen_decades():
    """From a lost link to one beyond any real, dense around 1 where the two expansions meet."""
    ratios = np.concatenate([np.geomspace(1e-9, 1e9, 601), np.linspace(0.5, 2, 201)])
    with mpmath.workdps(40):
        inverses = [1 / mpmath.mpf(float(ratio)) for ratio in ratios]
        exact = [float(mpmath.exp(x) * mpmath.e1(x) / mpmath.log(2)) for x in inverses]
    np.testing.assert_allclose(ergodic_rate_bps(1.0, ratios), exact, rtol=1e-14)
