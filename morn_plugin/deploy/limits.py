"""What the visitors of a page may ask for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask for.

    Attributes:
        max_images: Images at once.
        max_megabytes: Of a file.
        max_pixels: Of an image.
        lifetime: Seconds for which pictures are kept after they were last looked at.
        kept_megabytes: Of all visitors' pictures together; the oldest go first.
    """

    max_images: int = 16
    max_megabytes: int = 10
    max_pixels: int = 50_000_000
    lifetime: float = 900
    kept_megabytes: int = 256
