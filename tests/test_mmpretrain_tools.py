"""MMPretrain's own tools, run on our configs and checkpoints as its users would."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import mmengine
import mmpretrain
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate
from mmengine.logging import HistoryBuffer
from mmengine.registry import init_default_scope
from mmpretrain.apis import get_model
from mmpretrain.registry import TRANSFORMS
from tools_helpers import ROOT, write_config

from morn_plugin.evaluation.functional import paper_figures
from morn_plugin.speed.score_runs import write_scores

pytestmark = pytest.mark.slow  # starts processes

TOOLS = Path(mmpretrain.__file__).parent / '.mim' / 'tools'
NUMBER = 6
FEW = [
    '--cfg-options',
    f'test_dataloader.dataset.indices={NUMBER}',
    'test_dataloader.batch_size=4',
]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MPLBACKEND', 'Agg')
    init_default_scope('mmpretrain')


@pytest.fixture(scope='module')
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp('config') / 'config.py')


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: Any) -> None:
    """Run a tool of MMPretrain in this process."""
    path = TOOLS / name
    monkeypatch.setattr(sys, 'argv', [str(path), *map(str, arguments)])
    # As Python does: the script's own folder comes first.
    monkeypatch.syspath_prepend(str(path.parent))
    runpy.run_path(str(path), run_name='__main__')


def test_views_of_an_image_are_averaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: Path, work_dir: Path
) -> None:
    checkpoint = work_dir / 'epoch_1.pth'
    out = ['--work-dir', tmp_path, '--out', tmp_path / 'views.pkl', '--no-pin-memory']
    run(monkeypatch, 'test.py', config, checkpoint, '--tta', *out, *FEW)

    model = get_model(Config.fromfile(config), str(checkpoint))
    dataset = Config.fromfile(config).test_dataloader.dataset
    pipeline = Compose([TRANSFORMS.build(step) for step in dataset.pipeline])

    for found in mmengine.load(tmp_path / 'views.pkl'):
        batch = default_collate([pipeline(dict(img_path=found['img_path'], gt_label=[0]))])
        images = model.data_preprocessor(batch)['inputs']
        with torch.no_grad():
            plain, mirrored = (
                model(view, mode='predict')[0].pred_score for view in (images, images.flip(3))
            )

        assert not torch.allclose(plain, mirrored, atol=1e-3)
        torch.testing.assert_close(found['pred_score'], (plain + mirrored) / 2)
        chosen = ((plain + mirrored) / 2 > 0.5).nonzero()[:, 0]
        assert found['pred_label'].tolist() == chosen.tolist()


def test_show_dir_draws_our_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: Path, work_dir: Path
) -> None:
    shown = ['--show-dir', tmp_path / 'shown', '--interval', 4, '--no-pin-memory']
    run(
        monkeypatch,
        'test.py',
        config,
        work_dir / 'epoch_1.pth',
        '--work-dir',
        tmp_path,
        *shown,
        *FEW,
    )
    drawn = sorted(path.name[:6] for path in (tmp_path / 'shown').glob('*.png'))
    assert drawn == ['000000', '000004', 'overvi']


def test_metrics_are_found_by_their_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    target = rng.random((5, 4)) > 0.5
    scores = rng.random((5, 4))
    predictions = [
        dict(
            img_path=f'{index}.jpg',
            gt_label=torch.from_numpy(target[index].nonzero()[0]),
            pred_score=torch.from_numpy(scores[index]),
            pred_label=torch.from_numpy((scores[index] > 0.5).nonzero()[0]),
            num_classes=4,
        )
        for index in range(5)
    ]
    mmengine.dump(predictions, tmp_path / 'predictions.pkl')
    metrics = ['--metric', 'type=morn_plugin.evaluation.PerImageF1', '--metric', 'type=PerLabelF1']
    run(monkeypatch, 'analysis_tools/eval_metric.py', tmp_path / 'predictions.pkl', *metrics)

    printed = json.loads(capsys.readouterr().out.replace("'", '"'))
    names = [
        f'per-{kind}/{figure}'
        for kind in ('label', 'image')
        for figure in ('precision', 'recall', 'f1-score')
    ]
    expected = paper_figures(scores > 0.5, target)
    assert [printed[name] for name in names] == pytest.approx(expected[: len(names)])


def test_the_schedule_of_the_decoder_is_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: Path
) -> None:
    picture = tmp_path / 'rate.png'
    size = ['--dataset-size', 64, '--not-show', '--save-path', picture]
    work_dir = ['--cfg-options', f'work_dir={tmp_path}']
    run(monkeypatch, 'visualization/vis_scheduler.py', config, *size, *work_dir)
    assert picture.stat().st_size > 1000


def test_a_decoder_is_trained_on_cached_scores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its tool would let workers persist that the config does not have."""
    write_scores(tmp_path / 'scores.safetensors', 8, 5)
    base = ROOT / 'configs/morn/morn_scores_1xb32-50e_openclipart-mini.py'
    path = tmp_path / 'config.py'
    path.write_text(
        f"""_base_ = {str(base)!r}
model = dict(head=dict(num_classes=5))
train_dataloader = dict(dataset=dict(data_root='', ann_file={str(tmp_path / 'scores.safetensors')!r}))
val_dataloader = val_evaluator = val_cfg = None
test_dataloader = test_evaluator = test_cfg = None
train_cfg = dict(_delete_=True, by_epoch=True, max_epochs=1)
default_hooks = dict(checkpoint=dict(save_best=None))
"""
    )
    run(monkeypatch, 'train.py', path, '--work-dir', tmp_path / 'run')
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()


def test_a_checkpoint_is_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what a training run leaves in it, which torch alone does not load."""
    state = dict(weight=torch.ones(2))
    left = dict(message_hub=dict(loss=HistoryBuffer([1.0], [1])), optimizer=dict())
    meta = dict(dataset_meta=dict(classes=('a', 'b')))
    torch.save(dict(state_dict=state, meta=meta, **left), tmp_path / 'epoch_1.pth')
    arguments = (tmp_path / 'epoch_1.pth', tmp_path / 'published.pth')
    run(monkeypatch, 'model_converters/publish_model.py', *arguments)

    (published,) = tmp_path.glob('published_*.pth')
    content = torch.load(published, weights_only=True)
    assert content.keys() == {'state_dict', 'meta'}
    assert content['meta']['dataset_meta'] == meta['dataset_meta']


def test_print_config(
    monkeypatch: pytest.MonkeyPatch, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, 'misc/print_config.py', config)
    assert "type='MultiOrderLSTMHead'" in capsys.readouterr().out


def test_every_tool_is_on_the_page() -> None:
    page = (ROOT / 'docs' / 'mmpretrain_tools.md').read_text(encoding='utf-8')
    folders = ('.', 'analysis_tools', 'misc', 'visualization')
    found = [path for folder in folders for path in (TOOLS / folder).glob('*.py')]
    assert len(found) > 10
    for path in found:
        if path.name not in ('utils.py', 'kfold-cross-valid.py'):
            assert path.name in page
