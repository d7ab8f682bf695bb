"""The recommended recipe for own images: how long and how fast both stages train.

The one place that has it. docs/own_images.md shows what it was chosen on.
"""

from typing import NamedTuple

BATCH = 32

CNN_RATE = 4e-3  # the best of 2e-3, 4e-3 and 8e-3 on Open Clip Art's validation side
DECODER_RATE = 3e-3  # with batch norm as good as 1e-3 after 1500 steps, and better after 600
STATE_NORM = dict(eps=1e-3, momentum=0.05)


class Length(NamedTuple):
    """How long a stage trains: a number of optimiser steps, whatever the number of images.

    Attributes:
        steps: Steps that are wanted.
        fewest: Epochs at least.
        most: Epochs at most.
    """

    steps: int
    fewest: int
    most: int

    def epochs(self, steps_an_epoch: int) -> int:
        """Return the number of epochs.

        Examples:
            >>> length = Length(500, 6, 20)
            >>> length.epochs(50), length.epochs(10), length.epochs(1000)
            (10, 20, 6)
        """
        wanted = round(self.steps / max(steps_an_epoch, 1))
        return min(max(wanted, self.fewest), self.most)


CNN = Length(500, 6, 20)
DECODER = Length(1500, 10, 60)
QUICK_CNN = Length(150, 2, 8)
QUICK_DECODER = Length(600, 5, 30)
