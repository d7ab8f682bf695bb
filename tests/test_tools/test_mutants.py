"""The tool that tries mutants: what it draws, counts and says; mutmut itself is a made-up one here."""

import json
import runpy
import sys
from fnmatch import fnmatch

import pytest
from tools_helpers import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VERDICTS = ['killed'] * 17 + ['survived', 'no tests', 'timeout']


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Its functions, in a folder with twenty mutants of two modules."""
    names = [f'package.{"ab"[i % 2]}.x_f__mutmut_{i}' for i in range(20)]
    for module in 'ab':
        content = dict(
            exit_code_by_key=dict.fromkeys(name for name in names if f'.{module}.' in name)
        )
        path = tmp_path / 'package' / f'{module}.py.meta'
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))

    main = runpy.run_path(str(ROOT / 'tools' / 'mutants.py'))['main']
    calls = []

    def call(*arguments, check=True):
        calls.append(arguments)
        if arguments[0] == 'results':
            return ''.join(
                f'    {name}: {verdict}\n' for name, verdict in zip(names, VERDICTS, strict=True)
            )
        return f'diff of {arguments[1]}' if arguments[0] == 'show' else ''

    monkeypatch.setitem(main.__globals__, 'call_mutmut', call)
    monkeypatch.setitem(main.__globals__, 'MUTANTS', tmp_path)

    def start(*arguments):
        monkeypatch.setattr(sys, 'argv', ['mutants.py', *arguments])
        main()

    return start, calls, names


def test_all_are_tried_and_survivors_are_shown(tool, capsys):
    start, calls, names = tool
    start('--number', '0', '--least', '90')
    output = capsys.readouterr().out
    (tried,) = (call for call in calls if call[:2] == ('run', '--max-children'))
    assert sorted(tried[3:]) == sorted(names)
    assert 'The tests notice 18 of 20: 90.0 %.' in output
    assert 'Not noticed (survived):\ndiff of package.b.x_f__mutmut_17' in output
    assert 'Not noticed (no tests):\ndiff of package.a.x_f__mutmut_18' in output
    assert '9 of    10  package.a' in output


def test_too_few_noticed_is_a_failure(tool):
    start, _, _ = tool
    with pytest.raises(SystemExit, match='Fewer than 95 %'):
        start('--number', '0')


def test_a_sample_follows_from_its_seed(tool):
    start, calls, names = tool
    for seed in ('1', '1', '2'):
        start('--number', '5', '--seed', seed, '--least', '0')
    first, again, other = (call[3:] for call in calls if call[:2] == ('run', '--max-children'))
    assert first == again != other
    assert len(set(first)) == 5
    assert set(first) <= set(names)


def test_one_module_alone(tool):
    start, calls, _ = tool
    start('--number', '0', '--module', '*.b', '--least', '0')
    tried = next(call[3:] for call in calls if call[:2] == ('run', '--max-children'))
    assert len(tried) == 10
    assert all(name.startswith('package.b.') for name in tried)
    with pytest.raises(SystemExit, match=r"No mutant is of a module '\*\.c'"):
        start('--module', '*.c')


def test_settings_name_modules_and_tests_that_are_there():
    settings = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['mutmut']
    modules = [str(path.relative_to(ROOT)) for path in (ROOT / 'morn_plugin').rglob('*.py')]
    for pattern in settings['only_mutate']:
        assert any(fnmatch(module, pattern) for module in modules), pattern
    for path in settings['pytest_add_cli_args_test_selection'] + settings['also_copy']:
        assert (ROOT / path).exists(), path
