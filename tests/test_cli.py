"""The console command ``morn``: which tools it finds, and what it says when there is no such one."""

import sys

import pytest
from tools_helpers import ROOT

from morn_plugin.cli import choose, find_commands, main, run

PROGRAM = """
'''Say what was given.

More about it.
'''

import json
import sys

import beside

if __name__ == '__main__':
    with open(sys.argv[1], 'w') as file:
        json.dump([sys.argv, beside.VALUE, sys.modules['__main__'].__file__], file)
"""


@pytest.fixture
def tools(tmp_path):
    """A tools folder with two programs and a module that is none."""
    folder = tmp_path / 'tools'
    (folder / 'dataset_converters').mkdir(parents=True)
    (folder / 'say_it.py').write_text(PROGRAM)
    (folder / 'beside.py').write_text('VALUE = 1\n')
    (folder / 'dataset_converters' / 'say_it.py').write_text(PROGRAM)
    return folder


def test_programs_are_commands_and_other_modules_are_not(tools):
    commands = find_commands(tools)
    assert [command.name for command in commands] == ['convert say-it', 'say-it']
    assert commands[1].summary() == 'Say what was given.'


def test_every_program_of_the_repository_has_a_name_of_its_own():
    programs = {
        path
        for path in (ROOT / 'tools').rglob('*.py')
        if "if __name__ == '__main__':" in path.read_text()
    }
    commands = find_commands(ROOT / 'tools')
    assert {command.path for command in commands} == programs
    assert len({command.words for command in commands}) == len(programs)
    assert all(command.summary() for command in commands)


def test_commands_that_are_promised():
    names = {command.name for command in find_commands()}
    promised = ['train', 'test', 'predict', 'calibrate', 'report', 'serve', 'export', 'benchmark']
    assert names >= {*promised, 'convert tags', 'convert merge-decoder'}


def test_the_rest_of_the_line_is_the_tools(tools):
    commands = find_commands(tools)
    command, rest = choose(commands, ['convert', 'say_it', '--help', 'x y'])
    assert (command.path, rest) == (commands[0].path, ['--help', 'x y'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['say-if'], r"got 'say-if'. Did you mean 'say-it'\? There are: convert say-it, say-it\."),
        (['convert', 'quite another'], r"got 'convert quite another'. There are: convert say-it\."),
    ],
)
def test_unknown_commands_are_answered_with_those_there_are(arguments, message, tools):
    with pytest.raises(ValueError, match=message):
        choose(find_commands(tools), arguments)


def test_a_tool_runs_as_a_script_does(tools, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['morn'])
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setitem(sys.modules, '__main__', sys.modules['__main__'])
    command = find_commands(tools)[1]
    run(command, [str(tmp_path / 'out.json')])
    assert (tmp_path / 'out.json').read_text() == (
        f'[["morn say-it", "{tmp_path}/out.json"], 1, "{command.path}"]'
    )


@pytest.mark.parametrize(
    ('arguments', 'code', 'said'),
    [
        (['--help'], 0, 'commands:\n  annotate'),
        ([], 2, 'usage: morn COMMAND'),
        (['convert', '--help'], 0, 'commands:\n  convert coco'),
        (['convert'], 2, 'commands:\n  convert coco'),
        (['trian'], 2, "Did you mean 'train'?"),
    ],
)
def test_help_and_mistakes(arguments, code, said, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_where_the_configs_are(capsys):
    main(['--configs'])
    assert capsys.readouterr().out.strip() == str(ROOT / 'configs')
