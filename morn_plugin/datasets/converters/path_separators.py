"""Reads the paths of lists and tables; their separators are slashes or backslashes (NUS-WIDE)."""

from pathlib import PureWindowsPath

from morn_plugin.datasets.annotations import AnnotationError


def relative_path(text: str, where: str) -> str:
    r"""Turn a listed path into one with forward slashes below the root.

    Args:
        text: Such as ``actor\0001.jpg`` or ``./actor/0001.jpg``.
        where: File and line, for the error.

    Raises:
        AnnotationError: If the path is empty, absolute (on either system) or leaves the root by
            ``..``.

    Examples:
        >>> relative_path('actor\\0001.jpg', 'list.txt:1')
        'actor/0001.jpg'
    """
    path = PureWindowsPath(text)  # accepts both separators
    if path.drive or path.root or '..' in path.parts or not path.parts or '\0' in text:
        raise AnnotationError(
            f'{where}: expected a path below the image folder, without `..`, but got {text!r}.'
        )
    return path.as_posix()
