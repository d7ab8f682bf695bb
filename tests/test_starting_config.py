"""The small config that configs/README.md starts from trains as it stands, on images of one's own."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tools_helpers import ROOT, run_tool

from morn_plugin.apis import check_config, read_config

pytestmark = pytest.mark.slow  # starts processes

CLASSES = ['cat', 'dog', 'sea']


@pytest.fixture
def config(tmp_path: Path) -> Path:
    page = (ROOT / 'configs' / 'README.md').read_text(encoding='utf-8')
    section = page.split('## Small images, no GPU')[1].split('\n## ')[0]
    lines = re.findall(r'^    (.*)$', section, flags=re.M)
    text = '\n'.join(lines).replace("'./", f"'{ROOT}/configs/cnn/")
    path = tmp_path / 'mine.py'
    path.write_text(text.replace('data/mine/', f'{tmp_path}/data/'), encoding='utf-8')
    return path


def make_data(folder: Path) -> None:
    rng = np.random.default_rng(0)
    (folder / 'images').mkdir(parents=True)
    for side, number in (('train', 8), ('val', 4), ('test', 4)):
        images = []
        for index in range(number):
            name = f'{side}{index}.png'
            pixels = rng.integers(0, 256, (70, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / 'images' / name)
            images.append(dict(img_path=name, gt_label=[index % 3]))

        content = dict(metainfo=dict(classes=CLASSES), data_list=images)
        (folder / f'{side}.json').write_text(json.dumps(content))


def test_it_says_what_is_its_own_and_reaches_everything(config: Path) -> None:
    cfg = read_config(str(config))
    check_config(cfg)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        (size,) = [step.scale for step in loader.dataset.pipeline if 'scale' in step]
        assert size in (64, (64, 64))
        assert loader.dataset.data_root == f'{config.parent}/data/'


def test_it_trains(config: Path) -> None:
    pytest.importorskip('timm')
    make_data(config.parent / 'data')
    small = [
        'train_cfg.max_epochs=1',
        'model.backbone.init_cfg=None',
        'train_dataloader.batch_size=4',
    ]
    workers = [
        f'{side}_dataloader.{setting}'
        for side in ('train', 'val', 'test')
        for setting in ('num_workers=0', 'persistent_workers=False')
    ]
    out = ['--work-dir', config.parent / 'out', '--cfg-options', *small, *workers]
    printed = run_tool('train.py', config, *out)
    assert 'Epoch(train) [1][2/2]' in printed

    # A first line with the time left comes after the first iteration, and little before it.
    shown = printed.splitlines()
    first = next(index for index, line in enumerate(shown) if 'Epoch(train) [1][1/2]' in line)
    assert 'eta: ' in shown[first]
    assert first < 10
    assert len(shown) < 25
    (log,) = (config.parent / 'out').glob('*/*.log')
    for text in ('System environment:', 'Config:', 'Hooks will be executed'):
        assert text in log.read_text()

    assert re.search(r'Next, to test it: python .*tools/test\.py.* .*mine\.py.* .*best_', shown[-1])
    assert list((config.parent / 'out').glob('best_*.pth'))
