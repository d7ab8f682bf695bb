"""Finds the files next to the package, and whether one of its own tools is running.

Needs only the standard library, since it is imported before anything else.
"""

import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def find_root(package: Path = PACKAGE) -> Path:
    """Return the folder that holds ``configs`` and ``tools``.

    A wheel has them inside the package, in ``.mim``, like OpenMMLab's packages. In a checkout they
    are next to the package, and ``.mim``, if it exists, links to them.

    Args:
        package: Folder of the package.
    """
    inside = package / '.mim' / 'configs'
    return inside.resolve().parent if inside.is_dir() else package.parent


def find_config_file(name: str) -> str:
    """Return the path of a config.

    Args:
        name: A path, returned unchanged, or ``morn_plugin::`` and the path in the package's own
            configs.
    """
    prefix = 'morn_plugin::'
    if not name.startswith(prefix):
        return name
    return str(find_root() / 'configs' / name.removeprefix(prefix))


def runs_own_tool(root: Path | None = None) -> bool:
    """Return whether the main program of this process is the ``morn`` command or a file of tools/.

    They import slow modules only after parsing their arguments, so ``--help`` and typing errors are
    answered at once.

    Args:
        root: Folder that holds ``tools``. Defaults to that of this package.
    """
    file = getattr(sys.modules.get('__main__'), '__file__', None)
    if file is None:
        return False

    main = Path(file).resolve()
    if main.name == 'morn' or main.parent.name == 'morn.exe':  # as installed by pip
        return True
    return (root or find_root()) / 'tools' in main.parents
