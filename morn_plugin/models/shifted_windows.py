"""Makes MMPretrain's shifted windows traceable for any number of images."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmpretrain.models.utils import ShiftWindowMSA
from torch import Tensor


@contextmanager
def number_from_shapes() -> Iterator[None]:
    """Let MMPretrain's shifted windows infer the number of images from their shape.

    They compute it by dividing Python numbers, which fixes it in a traced model.
    """
    original = ShiftWindowMSA.window_reverse
    ShiftWindowMSA.window_reverse = staticmethod(_put_windows_together)
    try:
        yield
    finally:
        ShiftWindowMSA.window_reverse = staticmethod(original)


def _put_windows_together(
    windows: Tensor,
    height: int,
    width: int,
    size: int,
) -> Tensor:
    """Undo the partition into windows: (N x H/size x W/size, size, size, D) to (N, H, W, D)."""
    rows = height // size
    columns = width // size
    grid = windows.unflatten(0, (-1, rows, columns))  # (N, rows, columns, size, size, D)
    return grid.transpose(2, 3).flatten(3, 4).flatten(1, 2)
