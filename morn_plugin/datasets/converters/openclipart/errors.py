"""The errors for unusable files of the collection."""


class OpenClipartError(ValueError):
    """An unusable file of the collection; the message names it."""


class MalformedSvgError(OpenClipartError):
    """An SVG that is not well-formed XML."""


class UnsafeSvgError(OpenClipartError):
    """An SVG with features that no picture needs."""


class TooManyPixelsError(OpenClipartError):
    """A PNG that would need too much memory to decode."""


class TooSmallError(OpenClipartError):
    """A PNG of too few pixels to show anything."""


class BrokenPictureError(OpenClipartError):
    """A PNG that cannot be decoded."""


class BlankPictureError(OpenClipartError):
    """A PNG that shows a single colour on white."""
