"""The last line of a tool: the next command, ready to copy."""

import shlex
import sys
from pathlib import Path

# Commands of ``morn`` whose name is not that of the file.
GROUPS = {'dataset_converters': 'convert', 'model_converters': 'convert'}


def next_step(tool: str, *arguments: object, to: str) -> str:
    """Return a line with the next command for the output of a tool.

    Args:
        tool: File of the next tool below ``tools/``, without its ending: ``'analysis/report'``.
        *arguments: Its arguments. The user fills in those in capitals.
        to: Its purpose, after "to".

    Returns:
        The line, with the command in the form of this process: by file, or by ``morn``.

    Examples:
        >>> next_step('test', 'a.py', 'b c.pth', to='test it').partition('tools/')[2]
        "test.py a.py 'b c.pth'"
    """
    words = [shlex.quote(str(argument)) for argument in arguments]
    return f'Next, to {to}: {" ".join([_command(tool), *words])}'


def _command(tool: str) -> str:
    started_as = sys.argv[0] if sys.argv else ''
    if started_as.startswith('morn '):
        folder, _, name = tool.rpartition('/')
        return ' '.join(filter(None, ['morn', GROUPS.get(folder), name.replace('_', '-')]))
    return f'python {shlex.quote(str(_find_tools(started_as) / f"{tool}.py"))}'


def _find_tools(started_as: str) -> Path:
    """Return the folder of the tools as the path of this process's own tool names it."""
    path = Path(started_as)
    named = [parent for parent in path.parents if parent.name == 'tools']
    return named[0] if named else Path('tools')
