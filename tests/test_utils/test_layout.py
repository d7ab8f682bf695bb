"""Where the files are, and what counts as a tool of the package."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from tools_helpers import ROOT

from morn_plugin.utils.layout import find_config_file, find_root, runs_own_tool


def test_root_of_a_checkout_is_beside_the_package(tmp_path):
    assert find_root(tmp_path / 'morn_plugin') == tmp_path


def test_root_of_a_wheel_is_inside_the_package(tmp_path):
    (tmp_path / 'morn_plugin' / '.mim' / 'configs').mkdir(parents=True)
    assert find_root(tmp_path / 'morn_plugin') == tmp_path / 'morn_plugin' / '.mim'


def test_root_of_an_editable_install_is_the_checkout(tmp_path):
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'morn_plugin' / '.mim').mkdir(parents=True)
    (tmp_path / 'morn_plugin' / '.mim' / 'configs').symlink_to(tmp_path / 'configs')
    assert find_root(tmp_path / 'morn_plugin') == tmp_path


def test_configs_of_the_package_are_found_by_name():
    assert find_config_file('configs/mine.py') == 'configs/mine.py'
    found = Path(find_config_file('morn_plugin::_base_/default_runtime.py'))
    assert found.read_text() == (ROOT / 'configs/_base_/default_runtime.py').read_text()


@pytest.mark.parametrize(
    ('main', 'own'),
    [
        ('root/tools/train.py', True),
        ('root/tools/analysis/report.py', True),
        ('env/bin/morn', True),
        ('env/Scripts/morn.exe/__main__.py', True),
        ('root/tests/test_tools.py', False),
        ('elsewhere/tools/train.py', False),
        ('elsewhere/morn.py', False),
        (None, False),  # an interactive session, python -c
    ],
)
def test_own_tools_are_told_by_the_main_program(main, own, tmp_path, monkeypatch):
    program = ModuleType('__main__')
    if main is not None:
        program.__file__ = str(tmp_path / main)
    monkeypatch.setitem(sys.modules, '__main__', program)
    assert runs_own_tool(tmp_path / 'root') is own
