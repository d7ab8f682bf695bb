"""Limits for the visitors of a page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits for a visitor.

    Attributes:
        max_images: Images per upload.
        max_megabytes: Size of a file.
        max_pixels: Pixels of an image.
        lifetime: Seconds for which pictures are kept after they were last viewed.
        kept_megabytes: Total size of all visitors' pictures; the oldest are dropped first.
    """

    max_images: int = 16
    max_megabytes: int = 10
    max_pixels: int = 50_000_000
    lifetime: float = 900
    kept_megabytes: int = 256
