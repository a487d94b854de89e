"""How results depend on what was assumed: by finite variations, and by slopes."""

from card.studies.sensitivity.slopes import CONTINUOUS, REDUCTIONS, gradients, tangents
from card.studies.sensitivity.variations import (
    ALTERNATIVES,
    VARIED_KINDS,
    Effect,
    Variation,
    alternatives,
    effects,
    side_by_side,
    variations,
)
