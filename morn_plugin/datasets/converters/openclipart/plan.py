"""The options of the data set."""

from dataclasses import dataclass

from .keywords import MINI_CLASSES


@dataclass(frozen=True)
class Plan:
    """The options of the data set; the defaults make the full set."""

    size: int = 256
    suffix: str = '.png'
    classes: tuple[str, ...] | None = None
    min_count: int = 50
    merge_copies: bool = False
    min_labels: int = 1
    max_images: int | None = None


MINI = Plan(size=128, suffix='.webp', classes=MINI_CLASSES, merge_copies=True, min_labels=2)
