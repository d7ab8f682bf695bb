"""Every config parses, builds, trains one step on small images, predicts, and is tested by its own metrics."""

import os
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from config_files import CONFIGS, LEAVES, read_leaf
from mmengine.dataset import Compose
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS, HOOKS, METRICS, MODELS, PARAM_SCHEDULERS, TRANSFORMS
from mmpretrain.structures import DataSample

import morn_plugin  # noqa: F401
from morn_plugin.apis.config_gate import ConfigGate
from morn_plugin.engine.hooks.prepare_decoder_hook import asks_for_training_labels

ROOT = Path(__file__).parents[1]
# those on the cached outputs of a CNN see no image
CACHED_CONFIGS = [
    path for path in LEAVES if path.stem.split('_')[1] in ('scores', 'features', 'maps')
]
IMAGE_CONFIGS = [path for path in LEAVES if path not in CACHED_CONFIGS]
SECOND_STAGE = [
    path
    for path in IMAGE_CONFIGS
    if re.match(r'morn_|cnn-rnn-|mla_|pla_|order-free_|ocd_', path.name)
]
ALGORITHMS = sorted({path.parent for path in LEAVES})
SIZE = 64
WIDTH = 16  # of the features that are drawn for a decoder of any width
MEMORY = 250  # images of the training set that is drawn for a decoder that keeps one
OURS = (
    "Our figures, where the method has been run, are on the benchmark's pages of\n"
    '[Open Clip Art](../benchmark/openclipart/README.md) and '
    '[Corel5K](../benchmark/corel5k/README.md).\n'
)
NUM_CLASSES = {
    'coco': 80,
    'corel5k': 374,
    'nuswide': 81,
    'voc': 20,
    'openclipart': 72,
    'openclipart-mini': 41,
}


def ids(paths):
    return [str(path.relative_to(CONFIGS)) for path in paths]


each = pytest.mark.parametrize('path', IMAGE_CONFIGS, ids=ids(IMAGE_CONFIGS))


@pytest.fixture(autouse=True)
def scope():
    torch.manual_seed(0)
    init_default_scope('mmpretrain')


@pytest.fixture
def no_drawing(monkeypatch):
    """Leave new weights as they are found in memory: to draw them takes longer than all the rest."""
    for name in ('normal_', 'uniform_'):
        monkeypatch.setattr(torch.Tensor, name, lambda weights, *_, **__: weights)


def small_model(path, **head):
    """The config's model for small images, without pretrained weights."""
    cfg = read_leaf(path)
    cfg.model.backbone.init_cfg = None
    if cfg.model.backbone.type == 'VisionTransformer':
        cfg.model.backbone.img_size = SIZE
    cfg.model.head.update(head)
    return cfg, MODELS.build(cfg.model)


def prepare(model, in_channels=WIDTH):
    """Hand decoder and loss a training set, where they ask for one: each image has two labels."""
    head = model.head
    one_hot = np.eye(head.num_classes, dtype=np.int8)
    targets = np.tile(one_hot + np.roll(one_hot, 1, axis=1), (MEMORY // len(one_hot) + 1, 1))

    for part in (head.decoder, getattr(head, 'loss_cnn', None)):
        if not asks_for_training_labels(part):
            continue
        if hasattr(part, 'max_iterations'):
            part.max_iterations = 20  # a fit to what was drawn at random need not end
        inputs = make_inputs(getattr(part, 'prepares_from', ()), len(targets), part, in_channels)
        part.prepare(
            [f'label {i}' for i in range(head.num_classes)],
            targets,
            **{name: value.numpy() for name, value in inputs.items()},
        )


def make_inputs(names, number, decoder, in_channels=WIDTH):
    """Draw what a decoder sees of some images; a decoder knows the width of its features itself."""
    width = getattr(decoder, 'in_channels', in_channels)
    logits = torch.randn(number, decoder.num_classes)
    drawn = dict(
        scores=lambda: logits.sigmoid(),
        logits=lambda: logits,
        features=lambda: torch.rand(number, width),
        feature_map=lambda: torch.rand(number, width, 4, 4),
        stage_maps=lambda: tuple(
            torch.rand(number, channels, size, size)
            for channels, size in zip(decoder.stage_channels, (8, 4), strict=True)
        ),
    )
    return {name: drawn[name]() for name in names}


def batch(num_classes, number=2):
    samples = [
        DataSample().set_gt_label([i % num_classes, (i + 1) % num_classes]) for i in range(number)
    ]
    for i, sample in enumerate(samples):
        sample.set_field(f'{i}.jpg', 'img_path', field_type='metainfo')

    return dict(
        inputs=[torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8) for _ in samples],
        data_samples=samples,
    )


def metrics_of(cfg):
    """The metrics of a test, without the one that reads the training annotations."""
    metrics = [metric for metric in cfg.test_evaluator if metric['type'] != 'ConstantAnswer']
    assert metrics
    return metrics


@pytest.mark.slow
@each
def test_trains_a_step_and_predicts(path):
    cfg, model = small_model(path)
    num_classes = cfg.model.head.num_classes
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    prepare(model, cfg.model.head.in_channels)
    model.train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    wrapper.zero_grad()
    losses = model(**model.data_preprocessor(batch(num_classes), training=True), mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    unused = [
        name
        for name, value in model.named_parameters()
        if value.requires_grad and value.grad is None
    ]
    assert trained
    assert not unused, 'distributed training fails on parameters without a gradient'
    wrapper.step()
    changed = {
        name for name, value in model.named_parameters() if not torch.equal(value, before[name])
    }
    assert changed <= trained
    assert any(name.startswith('head.') for name in changed)

    model.eval()
    with torch.no_grad():
        predictions = model.val_step(batch(num_classes))
    for sample in predictions:
        assert sample.pred_score.shape == (num_classes,)
        assert ((sample.pred_score >= 0) & (sample.pred_score <= 1)).all()
        assert ('cnn_score' in sample) == model.head.has_cnn

    evaluator = Evaluator([METRICS.build(metric) for metric in metrics_of(cfg)])
    evaluator.process(data_samples=predictions)
    figures = evaluator.evaluate(len(predictions))
    head = cfg.model.head
    shown = {metric.get('item', 'pred_score') for metric in metrics_of(cfg)}
    if head.type != 'LabelDecoderHead' or head.get('decoder') or head.get('decision'):
        assert 'pred_score' in shown, 'what the model itself decides is not measured'

    for item, prefix in (('cnn_score', 'cnn/'), ('pred_score', '')):
        has_row = item == 'pred_score' or model.head.has_cnn
        if item in shown and has_row:
            names = {f'{prefix}per-label/f1-score', f'{prefix}per-image/f1-score'}
            assert names <= figures.keys()


@each
def test_parts_and_agreement(path):
    cfg = read_leaf(path)
    gate = ConfigGate()
    gate.clean_config(cfg.to_dict())
    assert not gate.problems, 'a checkpoint with this config would be refused'

    for name in ('train', 'val', 'test'):
        loader = cfg.get(f'{name}_dataloader')
        if loader is not None:
            assert loader.dataset.type in DATASETS
            Compose([TRANSFORMS.build(step) for step in loader.dataset.pipeline])

    for hook in cfg.default_hooks.values():
        HOOKS.build(hook)

    scheduler = cfg.get('param_scheduler')
    assert scheduler is None or scheduler['type'] in PARAM_SCHEDULERS
    name = re.fullmatch(
        r'[a-z0-9-]+_[a-z0-9-]+_(\d+)xb(\d+)-(\d+)e_([a-z0-9-]+?)(?:-(\d+)px)?', path.stem
    )
    assert name, f'{path.stem} is not named as MMPretrain names configs'
    processes, batch_size, epochs, dataset, size = name.groups()
    assert cfg.train_dataloader.batch_size == int(batch_size)
    assert int(processes) * int(batch_size) == cfg.auto_scale_lr.base_batch_size
    assert cfg.train_cfg.max_epochs == int(epochs)
    assert dataset in cfg.test_dataloader.dataset.data_root.replace('_', '-')
    assert cfg.model.head.num_classes == NUM_CLASSES[dataset]

    if size:
        assert [
            step.scale for step in cfg.train_dataloader.dataset.pipeline if 'scale' in step
        ] == [int(size)]
        assert cfg.model.backbone.get('img_size', int(size)) == int(size)


@each
def test_no_checkpoint_is_chosen_on_the_test_side(path):
    cfg = read_leaf(path)
    val = cfg.get('val_dataloader')
    if val is None:
        assert cfg.default_hooks.checkpoint.save_best is None
        assert cfg.get('val_cfg') is None
        assert cfg.get('val_evaluator') is None
    else:
        assert val.dataset.ann_file != cfg.test_dataloader.dataset.ann_file


@lru_cache(maxsize=2)  # those of a ResNet-101 take 170 MB
def weights_of(path):
    return small_model(path)[1].state_dict()


@pytest.mark.parametrize('path', SECOND_STAGE, ids=ids(SECOND_STAGE))
def test_first_stage_checkpoint_fits(path, no_drawing):
    # backbone, data set and size
    setting = lambda path: re.sub(r'^[^_]+|_\d+xb\d+-\d+e', '', path.stem)
    first = [
        other
        for other in IMAGE_CONFIGS
        if other.name.startswith('cnn_') and setting(other) == setting(path)
    ]
    if not first:
        pytest.skip('no first stage of its own')
    _, model = small_model(path)
    missing, unexpected = model.load_state_dict(weights_of(first[0]), strict=False)
    assert not unexpected
    assert all(name.startswith('head.decoder.') for name in missing)


@pytest.mark.parametrize(
    'path',
    [
        path
        for path in IMAGE_CONFIGS
        if path.stem.endswith('coco-448px') and path.stem.startswith('morn_')
    ],
    ids=lambda path: path.stem.split('_')[1],
)
def test_wrong_in_channels_names_the_right_one(path):
    right = read_leaf(path).model.head.in_channels
    _, model = small_model(path, in_channels=7)
    model.eval()
    with (
        pytest.raises(ValueError, match=rf'write head=dict\(in_channels={right}\)'),
        torch.no_grad(),
    ):
        model.val_step(batch(2))


@pytest.mark.parametrize('folder', ALGORITHMS, ids=lambda folder: folder.name)
def test_folder_is_documented(folder):
    index = yaml.safe_load((folder / 'metafile.yml').read_text())
    readme = (folder / 'README.md').read_text()
    collections = {entry['Name'] for entry in index['Collections']}
    listed = {entry['Config']: entry for entry in index['Models']}
    assert {str(path.relative_to(ROOT)) for path in folder.glob('*.py')} == listed.keys()

    for config, entry in listed.items():
        assert entry['Name'] == Path(config).stem
        assert entry['In Collection'] in collections
        assert Path(config).name in readme

    for entry in index['Collections']:
        assert (ROOT / entry['README']).is_file()

    assert OURS in readme, 'every page names the place of our figures in the same words'


@pytest.mark.slow
@pytest.mark.parametrize('path', CACHED_CONFIGS, ids=ids(CACHED_CONFIGS))
def test_trains_a_step_and_predicts_on_cached_inputs(path):
    cfg = read_leaf(path)
    num_classes = NUM_CLASSES[path.stem.split('_')[-1].removesuffix('-448px')]
    assert cfg.model.head.num_classes == num_classes

    for loader in filter(
        None, (cfg.train_dataloader, cfg.get('val_dataloader'), cfg.test_dataloader)
    ):
        assert loader.dataset.type == 'ScoreDataset'
        assert Path(os.path.normpath(loader.dataset.data_root)).is_relative_to(ROOT)

    model = MODELS.build(cfg.model).train()
    prepare(model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [parameter.detach().clone() for parameter in trained]
    inputs = make_inputs({*model.head.inputs, 'scores'}, 4, model.head.decoder)
    target = (inputs['scores'] > 0.9).float()
    loss, _ = model.parse_losses(model(inputs, target=target, mode='loss'))
    wrapper.update_params(loss)
    changed = [not torch.equal(*pair) for pair in zip(before, trained, strict=True)]
    is_fitted_before = cfg.train_cfg.get('type') == 'PrepareLoop'  # it may be at its optimum
    assert is_fitted_before or all(changed)
    model.eval()
    samples = [DataSample(metainfo=dict(img_path=f'{i}.jpg')).set_gt_label([i]) for i in range(4)]
    evaluator = Evaluator([METRICS.build(metric) for metric in cfg.test_evaluator])
    with torch.no_grad():
        evaluator.process(model(inputs, data_samples=samples, mode='predict'))
    assert 'per-image/f1-score' in evaluator.evaluate(4)
