"""Finds classes by the folder of their modules."""

import importlib
import inspect
import pkgutil
from typing import Any


def find_subclasses(package: str, base: type) -> list[Any]:
    """Import every module of a package, and return its subclasses of a class.

    Args:
        package: Full name of a package that is already imported.
        base: Their common base class; abstract subclasses are left out.

    Returns:
        The classes, sorted by name.

    Examples:
        >>> [found.__name__ for found in find_subclasses('morn_plugin.utils', OSError)]
        []
    """
    path = importlib.import_module(package).__path__
    found = {}
    for module_info in pkgutil.walk_packages(path, f'{package}.'):
        module = importlib.import_module(module_info.name)
        for name, value in vars(module).items():
            is_own = inspect.isclass(value) and value.__module__ == module.__name__
            if is_own and issubclass(value, base) and not inspect.isabstract(value):
                found[name] = value

    return [found[name] for name in sorted(found)]
