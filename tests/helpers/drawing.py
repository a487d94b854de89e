"""What a test reads off a figure."""

import numpy as np


def drawn(axes):
    """Points of all lines of some axes."""
    return [np.column_stack(line.get_data()) for line in axes.lines]


def contains(lines, x, y):
    """Whether one of the lines goes through exactly these points."""
    points = np.column_stack([x, y])
    return any(line.shape == points.shape and np.allclose(line, points) for line in lines)
