"""A fitted map saved into a checkpoint, for a loss that only ranks labels; every reader honours it."""

import json
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from sklearn.metrics import precision_score
from tools_helpers import SLICE, run_in_process

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.apis.exporting import ExportModel, describe_model, sample_input
from morn_plugin.apis.saving_maps import make_rule, save_with_map
from morn_plugin.apis.visits import Shelf, Uploads, Visits
from morn_plugin.apis.web_page import threshold_at_first
from morn_plugin.deploy.labels import Thresholds, load_thresholds
from morn_plugin.deploy.limits import Limits
from morn_plugin.engine.checkpoint_content import read_model_checkpoint
from morn_plugin.engine.hooks.checkpoint_check_hook import require_weights
from morn_plugin.evaluation.platt import PlattMap
from morn_plugin.models import DecisionHead, LabelDecoderHead

IMAGES = [str(path) for path in sorted((SLICE / 'images/animals').glob('*.webp'))[:4]]
CLASSES = list('abcd')
THRESHOLDS = Thresholds([0.05, 0.5, 0.6, 0.95], CLASSES, 'per-label-f1', 'v', PlattMap(3.0, -1.0))


@pytest.fixture
def inferencer(tmp_path):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    pipeline = [
        dict(type='LoadCheckedImage'),
        dict(type='Resize', scale=(32, 32)),
        dict(type='PackInputs'),
    ]
    model = dict(
        type='MultiLabelClassifier',
        backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=2),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LabelDecoderHead',
            num_classes=4,
            in_channels=16,
            decoder=None,
            loss_cnn=dict(type='WARPLoss'),
            topk=2,
        ),
    )
    loader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='CheckedMultiLabelDataset',
            data_root=str(tmp_path),
            ann_file='images.json',
            pipeline=pipeline,
            test_mode=True,
        ),
    )
    evaluator = [dict(type='PerLabelF1', use_pred_label=True)]
    settings = dict(
        custom_imports=dict(imports=['morn_plugin'], allow_failed_imports=False),
        default_scope='mmpretrain',
        default_hooks=dict(checkpoint_check=dict(type='CheckpointCheckHook')),
        model=model,
        val_dataloader=loader,
        test_dataloader=loader,
        val_evaluator=evaluator,
        test_evaluator=evaluator,
        val_cfg=dict(),
        test_cfg=dict(),
    )
    config = Config(settings)
    config.dump(tmp_path / 'config.py')
    built = MODELS.build(config.model)
    torch.nn.init.normal_(built.head.fc.weight)
    meta = dict(
        dataset_meta=dict(classes=tuple(CLASSES), cnn_checkpoint_sha256='0' * 64),
        calibrated_thr={'cnn-calibrated': 0.3},
        epoch=5,
    )
    torch.save(dict(state_dict=built.state_dict(), meta=meta), tmp_path / 'model.pth')
    return MultiLabelInferencer(tmp_path / 'model.pth', tmp_path / 'config.py', device='cpu')


def predict(inferencer):
    records = inferencer(IMAGES)['predictions']
    return np.array([record['scores'] for record in records]), [set(r['labels']) for r in records]


def test_the_copy_shows_probabilities_and_decides_by_the_thresholds(inferencer, tmp_path):
    scores, before = predict(inferencer)
    assert not inferencer.model.head.has_probability
    beside = save_with_map(inferencer, THRESHOLDS, str(tmp_path / 'new' / 'mapped.pth'))
    assert beside == str(tmp_path / 'new' / 'mapped.py')

    expected = [set(np.flatnonzero(row > np.array(THRESHOLDS.thr))) for row in scores]
    assert expected != before
    for config in (None, beside):
        copy = MultiLabelInferencer(tmp_path / 'new' / 'mapped.pth', config, device='cpu')
        found, labels = predict(copy)
        np.testing.assert_allclose(found, THRESHOLDS.score_map.probabilities(scores), atol=1e-5)
        assert labels == expected
        assert copy.model.head.has_probability

    assert copy.cnn_thr == 0.3
    meta = read_model_checkpoint(tmp_path / 'new' / 'mapped.pth')['meta']
    before = read_model_checkpoint(tmp_path / 'model.pth')['meta']
    assert meta['dataset_meta'] == before['dataset_meta']
    assert meta['calibrated_thr'] == before['calibrated_thr']
    assert 'epoch' not in meta  # of a run, which a changed model is not a part of

    exported = ExportModel(copy.model)(sample_input(copy, IMAGES))[0].detach().numpy()
    np.testing.assert_allclose(exported, found, atol=1e-6)
    described = describe_model(copy)
    assert described['topk'] is None
    assert [set(np.flatnonzero(row > described['thr'])) for row in exported] == expected


def test_the_page_begins_with_the_models_own_decision(inferencer, tmp_path):
    def labels_at_first(model):
        """Return the labels of the images, as the page lays them out before anything is moved."""
        limits = Limits(max_images=len(IMAGES), max_megabytes=1)
        visits = Visits(model, limits, Uploads(tmp_path, limits.lifetime), Shelf(limits))
        key, complaints = visits.upload(IMAGES)
        assert complaints == ''
        thr = threshold_at_first(model, None)
        rows, _ = visits.show(thr, key)
        named = lambda text: [] if text == '(none)' else text.split(', ')
        return [{int(part.split()[0]) for part in named(text)} for _, text, _ in rows]

    inferencer.classes = [str(index) for index in range(4)]
    assert labels_at_first(inferencer) == predict(inferencer)[1]  # the two best of each
    save_with_map(inferencer, THRESHOLDS, str(tmp_path / 'mapped.pth'))
    copy = MultiLabelInferencer(tmp_path / 'mapped.pth', device='cpu')
    assert labels_at_first(copy) == predict(copy)[1]


def test_the_tool_saves_a_model_that_is_tested_by_its_own_config(
    inferencer, tmp_path, monkeypatch, capfd
):
    """Images whose labels are above the scores' median, so that there is a map to be found."""
    scores, _ = predict(inferencer)
    targets = scores > np.median(scores)
    targets[0, 0] = not targets[0, 0]
    rows = [
        dict(img_path=path, gt_label=np.flatnonzero(row).tolist())
        for path, row in zip(IMAGES, targets, strict=True)
    ]
    content = dict(metainfo=dict(classes=CLASSES), data_list=rows)
    (tmp_path / 'images.json').write_text(json.dumps(content))

    run = lambda tool, *args: run_in_process(monkeypatch, capfd, tool, *args)
    model = [tmp_path / 'model.pth', '--config', tmp_path / 'config.py']
    thresholds = tmp_path / 'thresholds.json'
    mapped = tmp_path / 'mapped.pth'
    files = ['--out', thresholds, '--save-model', mapped]
    printed = run('analysis/calibrate.py', *model, '--scope', 'global', *files)
    words = [shlex.split(line) for line in printed.splitlines() if 'test.py' in line]
    assert [str(mapped.with_suffix('.py')), str(mapped)] in [found[-2:] for found in words]

    chosen = load_thresholds(thresholds, CLASSES)
    copy = MultiLabelInferencer(mapped, device='cpu')
    found, labels = predict(copy)
    np.testing.assert_allclose(found, chosen.score_map.probabilities(scores), atol=1e-5)
    assert labels == [set(np.flatnonzero(row > np.float32(chosen.thr))) for row in scores]

    where = ['--work-dir', tmp_path / 'w', '--out', tmp_path / 'figures.json']
    run('test.py', mapped.with_suffix('.py'), mapped, *where)
    figures = json.loads((tmp_path / 'figures.json').read_text())
    predicted = np.array([[label in row for label in range(4)] for row in labels])
    precision = precision_score(targets, predicted, average='macro', zero_division=0)
    assert figures['per-label/precision'] == pytest.approx(100 * precision, abs=1e-4)

    # Other thresholds, of the probabilities: tested as they predict.
    other = tmp_path / 'other.json'
    Thresholds(np.sort(found, axis=0)[1].tolist(), CLASSES, 'per-label-f1', 'v').save(other)
    run('test.py', mapped.with_suffix('.py'), mapped, *where, '--thresholds', other)
    records = copy(IMAGES, thr=load_thresholds(other, CLASSES).thr)['predictions']
    predicted = np.array([[label in record['labels'] for label in range(4)] for record in records])
    assert predicted.sum() == 8  # two of four images for each label
    precision = precision_score(targets, predicted, average='macro', zero_division=0)
    figures = json.loads((tmp_path / 'figures.json').read_text())
    assert figures['per-label/precision'] == pytest.approx(100 * precision, abs=1e-4)


def test_a_map_comes_after_the_models_own():
    first = dict(type='ScoreMap', slope=2.0, offset=0.3, thr=0.5)
    head = LabelDecoderHead(4, 16, None, decision=first)
    rule = make_rule(head, THRESHOLDS)
    scores = torch.rand(5, 4)
    shown = head.decision.map_scores(scores)
    expected = THRESHOLDS.score_map.probabilities(shown.numpy())
    np.testing.assert_allclose(rule.map_scores(scores).numpy(), expected, rtol=1e-4)
    marked = shown.numpy() > np.float32(THRESHOLDS.thr)
    assert (rule.decide(scores).numpy() == marked).all()


def test_what_cannot_hold_a_map_is_refused(inferencer, tmp_path):
    with pytest.raises(ValueError, match='fit one with --map'):
        make_rule(inferencer.model.head, Thresholds(0.5, CLASSES, 'm', 'v'))
    quantity = dict(type='LabelQuantity', in_channels=16)
    with pytest.raises(ValueError, match='decides by LabelQuantity, which looks at the image'):
        make_rule(LabelDecoderHead(4, 16, None, decision=quantity), THRESHOLDS)
    linear = MODELS.build(dict(type='MultiLabelLinearClsHead', num_classes=4, in_channels=16))
    with pytest.raises(
        ValueError, match='LabelDecoderHead to save a map in, but got MultiLabelLin'
    ):
        make_rule(linear, THRESHOLDS)

    with pytest.raises(ValueError, match=r'FILE\.pth, but got model\.onnx'):
        save_with_map(inferencer, THRESHOLDS, 'model.onnx')
    with pytest.raises(ValueError, match='different file than the calibrated checkpoint'):
        save_with_map(inferencer, THRESHOLDS, str(tmp_path / 'model.pth'))


def test_a_test_with_a_config_without_the_decision_is_refused(inferencer):
    head = DecisionHead(4, dict(type='LinearClassifier', in_channels=3))
    model = torch.nn.Module()
    model.head = head
    state = {f'head.{name}': value for name, value in head.state_dict().items()}
    state['head.decision.slope'] = torch.tensor(2.0)
    runner = SimpleNamespace(_load_from='mapped.pth', model=model, logger=None)
    with pytest.raises(ValueError, match=r'mapped\.pth has its own decision rule \(head\.decis'):
        require_weights(runner, dict(state_dict=state), is_training=False)
    require_weights(runner, dict(state_dict=state), is_training=True, log=False)
