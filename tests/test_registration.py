"""What is registered, when, and under which names MMPretrain finds it."""

import shutil
import subprocess
import sys

import mmpretrain
import pytest
from mmpretrain.registry import HOOKS, METRICS, MODELS
from tools_helpers import ROOT

pytestmark = pytest.mark.slow  # starts processes

LOADED = """
import sys
import morn_plugin.deploy.labels, morn_plugin.datasets.converters, morn_plugin.utils.arguments
print(sorted({'torch', 'mmpretrain'} & set(sys.modules)))
"""


def test_importing_the_package_registers_everything():
    assert MODELS.get('MultiOrderLSTMHead')
    assert METRICS.get('PerImageF1')
    assert HOOKS.get('PaperTableHook')


@pytest.mark.parametrize('folder', ['tools', 'elsewhere'])
def test_own_tools_alone_put_the_registration_off(folder, tmp_path):
    """What a user writes is registered for at once; a file of tools/ can parse its arguments first."""
    without_links = shutil.ignore_patterns('.mim')
    shutil.copytree(ROOT / 'morn_plugin', tmp_path / 'morn_plugin', ignore=without_links)
    script = tmp_path / folder / 'script.py'
    script.parent.mkdir()
    script.write_text(LOADED)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=dict(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == ('[]' if folder == 'tools' else "['mmpretrain', 'torch']")


def test_mmpretrain_lists_the_configs_by_name():
    names = mmpretrain.list_models('*morn*')
    configs = {path.stem for path in (ROOT / 'configs' / 'morn').glob('morn*.py')}
    assert configs
    assert configs <= set(names)


def test_mmpretrain_builds_a_model_by_name():
    model = mmpretrain.get_model('morn_scores_1xb32-50e_openclipart-mini')
    assert model.head.num_classes == 41
