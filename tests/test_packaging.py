"""The wheel: of use without a clone, from any folder, also one with a space and an umlaut in its name."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from tools_helpers import ROOT, SLICE

pytestmark = pytest.mark.slow  # starts processes

ENTRIES = ('setup.py', 'pyproject.toml', 'README.md')
TREES = ('morn_plugin', 'configs', 'tools', 'tests/data/openclipart_mini')

CONFIG = """
_base_ = [
    'morn_plugin::_base_/models/resnet101_morn.py', 'morn_plugin::_base_/datasets/openclipart_mini.py',
    'morn_plugin::_base_/evaluation/decoder.py', 'morn_plugin::_base_/schedules/decoder_rmsprop_50e.py',
    'morn_plugin::_base_/default_runtime.py']
model = dict(
    frozen=(),
    backbone=dict(depth=18, base_channels=8, init_cfg=None),
    head=dict(num_classes=41, in_channels=64, embed_dims=8, hidden_dims=16, num_steps=3))
pipeline = [dict(type='LoadCheckedImage'), dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]
train_dataloader = dict(num_workers=0, batch_size=16, dataset=dict(pipeline=pipeline, indices=32))
val_dataloader = dict(num_workers=0, batch_size=8, dataset=dict(pipeline=pipeline, indices=8))
test_dataloader = dict(num_workers=0, batch_size=8, dataset=dict(pipeline=pipeline, indices=8))
train_cfg = dict(max_epochs=1)
default_hooks = dict(checkpoint=dict(save_best=None))
"""

NAMES = """
import mmpretrain
import morn_plugin
from mmengine.config import Config

print(len(mmpretrain.list_models('morn*')))
print(type(mmpretrain.get_model('morn_scores_1xb32-50e_openclipart-mini')).__name__)
print(Config.fromfile('named.py').model.head.type)
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """Built from a copy, so that the checkout gets no build folder."""
    source = tmp_path_factory.mktemp('source')
    for name in ENTRIES:
        shutil.copy(ROOT / name, source / name)

    for name in TREES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('.mim'))

    out = tmp_path_factory.mktemp('wheel')
    pip('wheel', '--no-deps', '--no-build-isolation', '-w', str(out), str(source))
    (path,) = out.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def site(wheel, tmp_path_factory):
    """Where the wheel is installed, beside the environment rather than in it."""
    folder = tmp_path_factory.mktemp('installed') / 'Schöne Pakete'
    pip('install', '--no-deps', '--target', str(folder), str(wheel))
    return folder


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder that has nothing to do with either."""
    folder = tmp_path_factory.mktemp('elsewhere') / 'meine Bilder für morn'
    folder.mkdir()
    return folder


def pip(*arguments):
    done = subprocess.run(
        [sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check', *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def start(command, site, place):
    """Run a command to its end, with the installed package rather than the checkout's."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=place,
        env=dict(os.environ, PYTHONPATH=str(site), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done


def morn(site, place, *arguments):
    return start([site / 'bin' / 'morn', *arguments], site, place).stdout


def names_below(folder):
    return {
        str(path.relative_to(folder))
        for path in folder.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def test_wheel_has_configs_and_tools_and_nothing_of_the_tests(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if 'dist-info' not in name}
    carried = {name.split('.mim/', 1)[1] for name in names if '.mim/' in name}
    expected = {'model-index.yml'}
    for tree in TREES[1:]:
        expected |= {f'{tree}/{name}' for name in names_below(ROOT / tree)}
    assert carried == expected
    assert all(name.startswith('morn_plugin/') for name in names)


def test_model_index_names_every_metafile(wheel):
    text = zipfile.ZipFile(wheel).read('morn_plugin/.mim/model-index.yml')
    imports = yaml.safe_load(text)['Import']
    assert imports == sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / 'configs').glob('*/metafile.yml')
    )


def test_help_imports_nothing_slow(site, place):
    done = start(['-X', 'importtime', site / 'bin' / 'morn', '--help'], site, place)
    assert 'commands:' in done.stdout
    imported = {line.rsplit('|', 1)[-1].strip() for line in done.stderr.splitlines()}
    assert 'morn_plugin.cli' in imported
    assert not {'torch', 'mmpretrain', 'mmengine', 'numpy'} & imported


def test_converter_runs_from_the_wheel(site, place):
    images = place / 'Früchte und Gemüse'
    images.mkdir()
    source = sorted((SLICE / 'images').rglob('*.webp'))[:8]
    for index, path in enumerate(source):
        shutil.copy(path, images / f'Bild {index}.webp')

    rows = [f'Bild {index}.webp,Äpfel' for index in range(len(source))]
    (place / 'Tags.csv').write_text('\n'.join(['image,tags', *rows]), encoding='utf-8')
    morn(site, place, 'convert', 'tags', images, place / 'Tags.csv', 'aus', '--min-count', 1)
    written = json.loads((place / 'aus' / 'train.json').read_text(encoding='utf-8'))
    assert written['metainfo']['classes'] == ['äpfel']


def test_training_and_prediction_run_from_the_wheel(site, place):
    """The config takes its bases from the package by name, and the slice from inside the wheel."""
    (place / 'mein Netz.py').write_text(CONFIG)
    morn(site, place, 'train', 'mein Netz.py', '--work-dir', 'Läufe/erster')
    images = sorted((SLICE / 'images' / 'food').rglob('*.webp'))[:2]
    output = morn(site, place, 'predict', 'Läufe/erster', *images)
    records = list(map(json.loads, output.splitlines()))
    assert [record['img_path'] for record in records] == list(map(str, images))


def test_mmpretrain_and_mmengine_find_the_configs_by_name(site, place):
    configs = Path(morn(site, place, '--configs').strip())
    assert configs.is_relative_to(site)
    name = 'morn/morn_scores_1xb32-50e_openclipart-mini.py'
    (place / 'named.py').write_text(f"_base_ = 'morn_plugin::{name}'\n")
    said = start(['-c', NAMES], site, place).stdout.splitlines()
    expected = len(list((ROOT / 'configs' / 'morn').glob('morn*.py')))
    assert said[-3:] == [str(expected), 'ScoreClassifier', 'MultiOrderLSTMHead']
