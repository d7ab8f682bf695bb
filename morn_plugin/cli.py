"""The console command ``morn``: every tool of the repository under its name.

``morn train CONFIG`` is ``python tools/train.py CONFIG``, from wherever the package is installed.
The commands are the files of the ``tools`` folder that can be run, so a new tool is a new command.
"""

import ast
import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from .utils.layout import find_root
from .version import __version__

# Folder below tools/ -> word before a tool's own name on the command line.
GROUPS = {
    '': (),
    'analysis': (),
    'benchmark': (),
    'dataset_converters': ('convert',),
    'model_converters': ('convert',),
}


@dataclass(frozen=True)
class Command:
    """A tool and its name.

    Attributes:
        words: Its words on the command line, such as ``('convert', 'tags')``.
        path: The file.
    """

    words: tuple[str, ...]
    path: Path

    @property
    def name(self) -> str:
        """The words on the command line."""
        return ' '.join(self.words)

    def summary(self) -> str:
        """Return the first line of the tool's description."""
        text = ast.get_docstring(ast.parse(self.path.read_text(encoding='utf-8')))
        return text.splitlines()[0] if text else ''


def find_commands(tools: Path | None = None) -> list[Command]:
    """Return a command for each file of the tools folder that is a program, sorted by name.

    Args:
        tools: The folder. Defaults to that of this package.
    """
    tools = tools or find_root() / 'tools'
    found = []
    for folder, words in GROUPS.items():
        for path in (tools / folder).glob('*.py'):
            if "if __name__ == '__main__':" in path.read_text(encoding='utf-8'):
                found.append(Command((*words, path.stem.replace('_', '-')), path))
    return sorted(found, key=lambda command: command.words)


def format_help(commands: Sequence[Command]) -> str:
    """Return the text of ``morn --help``."""
    width = max(len(command.name) for command in commands)
    lines = [f'  {command.name:{width}}  {command.summary()}' for command in commands]
    head = [
        'usage: morn COMMAND [arguments]',
        '       morn COMMAND --help',
        '',
        'Multi-label image annotation for MMPretrain.',
        '',
        'commands:',
    ]
    tail = [
        '',
        'options:',
        '  --configs  print the folder of the configs',
        '  --version  print the version',
    ]
    return '\n'.join([*head, *lines, *tail])


def find_group(commands: Sequence[Command], word: str) -> list[Command]:
    """Return the commands that share a first word, such as ``convert``."""
    return [command for command in commands if len(command.words) > 1 and command.words[0] == word]


def choose(commands: Sequence[Command], arguments: Sequence[str]) -> tuple[Command, list[str]]:
    """Return the command at the beginning of the arguments, and the rest.

    Raises:
        ValueError: If there is no such command; lists the existing ones.
    """
    for command in commands:
        given = tuple(word.replace('_', '-') for word in arguments[: len(command.words)])
        if given == command.words:
            return command, list(arguments[len(command.words) :])

    group = find_group(commands, arguments[0])
    asked = ' '.join(arguments[: 2 if group else 1])
    names = [command.name for command in group or commands]
    close = difflib.get_close_matches(asked, names, n=1)
    hint = f' Did you mean {close[0]!r}?' if close else ''
    raise ValueError(
        f'Expected a command, but got {asked!r}.{hint} There are: {", ".join(names)}. '
        'See morn --help.'
    )


def run(command: Command, arguments: Sequence[str]) -> None:
    """Run a tool as ``python FILE arguments`` would, in this process.

    ``runpy`` would put the file's name where argparse looks for the name of the program.
    """
    program = ModuleType('__main__')
    program.__file__ = str(command.path)
    sys.modules['__main__'] = program  # where pickle and new processes look for its functions
    sys.argv = [f'morn {command.name}', *arguments]
    sys.path.insert(0, str(command.path.parent))

    code = compile(command.path.read_text(encoding='utf-8'), program.__file__, 'exec')
    exec(code, program.__dict__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: Defaults to those of the process.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    commands = find_commands()

    if not arguments or arguments[0] in ('-h', '--help', 'help'):
        print(format_help(commands))
        sys.exit(0 if arguments else 2)

    if arguments[0] == '--version':
        print(__version__)
        return
    if arguments[0] == '--configs':
        print(find_root() / 'configs')
        return

    group = find_group(commands, arguments[0])
    if group and arguments[1:] in ([], ['-h'], ['--help']):
        print(format_help(group))
        sys.exit(0 if arguments[1:] else 2)

    try:
        command, rest = choose(commands, arguments)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)

    run(command, rest)
