"""Optional dependencies."""

from importlib import import_module
from types import ModuleType


def require_extra(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: What to import.
        extra: The extra of this package that installs it.

    Raises:
        ImportError: If it is not installed; gives the pip command.

    Examples:
        >>> require_extra('no_such_module', 'demo')  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ImportError: no_such_module is not installed. It comes with an extra: pip install ...
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split('.')[0]:
            raise
        raise ImportError(
            f"{module} is not installed. It comes with an extra: pip install 'morn-plugin[{extra}]'"
        ) from error
