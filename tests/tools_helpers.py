"""Running the tools as users do, on the slice, with a tiny model."""

import importlib.util
import json
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from warm_start import WarmProcess, start_ranks

from morn_plugin.datasets.annotations import load_annotations

ROOT = Path(__file__).parents[1]
SLICE = ROOT / 'tests' / 'data' / 'openclipart_mini'

MODEL = """
_base_ = [
    '{configs}/_base_/models/resnet101_{kind}.py', '{configs}/_base_/datasets/openclipart_mini.py',
    '{configs}/_base_/evaluation/{evaluation}.py', '{configs}/_base_/schedules/decoder_rmsprop_50e.py',
    '{configs}/_base_/default_runtime.py']
model = dict(backbone=dict(depth=18, base_channels=8, init_cfg=None), {extra}
    head=dict(num_classes=41, in_channels=64{head}))
pipeline = [dict(type='LoadCheckedImage'), dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]
train_dataloader = dict(num_workers=0, persistent_workers=False, batch_size=16,
                        dataset=dict(pipeline=pipeline, indices=64))
val_dataloader = dict(num_workers=0, persistent_workers=False, batch_size=8, dataset=dict(pipeline=pipeline, indices=37))
test_dataloader = dict(num_workers=0, persistent_workers=False, batch_size=8, dataset=dict(pipeline=pipeline, indices=37))
train_cfg = dict(max_epochs=3)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(save_best=None, max_keep_ckpts=-1){hooks})
"""
BROWSER_FLAGS = (
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-sync',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-dev-shm-usage',
)
EVALUATION = {'cnn': 'cnn', 'morn': 'decoder', 'cnn-rnn': 'sequence'}
SMALL_HEAD = {
    'cnn': '',
    'morn': ', embed_dims=8, hidden_dims=16, num_steps=3',
    'cnn-rnn': ', decoder=dict(embed_dims=8, hidden_dims=16)',
}
HOOKS = {
    'cnn-rnn': ", paper_table=dict(rows=dict(_delete_=True, **{'CNN': 'cnn/', 'CNN-RNN': ''}))"
}


def write_config(path, kind='morn', frozen=False):
    """Write a config of a tiny model on a part of the slice; ``kind`` is 'morn', 'cnn-rnn' or 'cnn'."""
    extra = '' if frozen or kind == 'cnn' else 'frozen=(),'
    path.write_text(
        MODEL.format(
            configs=ROOT / 'configs',
            kind=kind,
            extra=extra,
            evaluation=EVALUATION[kind],
            head=SMALL_HEAD[kind],
            hooks=HOOKS.get(kind, ''),
        )
    )
    return path


def make_work_dir(folder, kind='morn'):
    """Leave in a folder what a training run of the tiny model would: a checkpoint with the config's
    text in it.

    The weights are random and far from zero, so that scores spread and labels differ from image to
    image.
    """
    torch.manual_seed(0)
    cfg = Config.fromfile(write_config(folder / 'config.txt.py', kind))
    (folder / 'config.txt.py').unlink()
    model = MODELS.build(cfg.model)
    decoder = model.head.decoder

    for layer, std in (
        (model.head.fc, 20),
        (decoder.init_h, 1),
        (decoder.init_c, 1),
        (decoder.output, 1),
    ):
        torch.nn.init.normal_(layer.weight, std=std)

    classes = tuple(json.loads((SLICE / 'test.json').read_text())['metainfo']['classes'])
    if decoder.needs_training_labels:
        decoder.prepare(classes, load_annotations(SLICE / 'train_fit.json').targets())
        # END, so that sequences differ in length
        torch.nn.init.constant_(decoder.output.bias[-1:], 0.8)

    torch.save(
        dict(
            state_dict=model.state_dict(),
            meta=dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=classes)),
        ),
        folder / 'epoch_1.pth',
    )
    # as after the folder was moved
    (folder / 'last_checkpoint').write_text('/elsewhere/epoch_1.pth')
    return folder


def start_tool(name, *args, processes=1, cwd=None):
    """Start a tool of the repository in a process of its own, or in several as under torchrun."""
    script = str(ROOT / 'tools' / name)
    arguments = list(map(str, args))
    environment = dict(
        os.environ,
        OMP_NUM_THREADS='1',
        PYTHONPATH=f'{ROOT}{os.pathsep}{os.environ.get("PYTHONPATH", "")}',
    )
    if processes == 1:
        return WarmProcess(script, arguments, cwd, environment)

    return start_ranks(processes, script, [*arguments, '--launcher', 'pytorch'], cwd, environment)


def run_tool(name, *args, processes=1, cwd=None):
    """Run a tool to its end and give what it printed; a failure fails the test with that."""
    process = start_tool(name, *args, processes=processes, cwd=cwd)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output[-4000:]
    return output


def run_failing(*args, **kwargs):
    """Run a tool that must fail, and give what it printed."""
    process = start_tool(*args, **kwargs)
    output, _ = process.communicate(timeout=240)
    assert process.returncode != 0, output
    return output


def load_tool(path):
    """Import a tool of the repository from its file."""
    spec = importlib.util.spec_from_file_location(f'tool_{path.stem}', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def run_in_process(monkeypatch, capfd, name, *args):
    """Run a tool of the repository in this process, which takes no time to start; return what it printed."""
    path = ROOT / 'tools' / name
    monkeypatch.setattr(sys, 'argv', [str(path), *map(str, args)])
    capfd.readouterr()
    load_tool(path).main()
    return ''.join(capfd.readouterr())


@contextmanager
def open_browser(profile, width=1300, height=1500):
    """Start a headless Chromium that keeps its files in the folder ``profile``; skips the test where there is none."""
    binary = shutil.which('chromium') or shutil.which('google-chrome')
    driver = shutil.which('chromedriver')
    if not (binary and driver):
        pytest.skip(
            'chromium and chromedriver are not installed (apt-get install chromium chromium-driver)'
        )

    webdriver = pytest.importorskip('selenium.webdriver', reason='selenium is not installed')
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*BROWSER_FLAGS, f'--user-data-dir={profile}'):
        options.add_argument(flag)

    options.set_capability('goog:loggingPrefs', {'performance': 'ALL'})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        browser.execute_cdp_cmd(
            'Emulation.setDeviceMetricsOverride',
            dict(width=width, height=height, deviceScaleFactor=1, mobile=width < 500),
        )
        yield browser
    finally:
        browser.quit()


def read_scalars(work_dir):
    """Give the training log of a run, one dict an iteration."""
    (path,) = Path(work_dir).glob('*/vis_data/scalars.json')
    return [entry for entry in map(json.loads, path.read_text().splitlines()) if 'loss' in entry]
