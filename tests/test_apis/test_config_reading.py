"""What a config overrides takes effect, or is an error that says what would."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from config_files import CONFIGS, LEAVES
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmpretrain.registry import TRANSFORMS
from tools_helpers import SLICE

from morn_plugin.apis import ConfigError, read_config
from morn_plugin.apis.config_reading import find_overridden

MINI = CONFIGS / 'cnn' / 'cnn_efficientnet-lite0_1xb32-8e_openclipart-mini.py'
COCO = CONFIGS / 'cnn' / 'cnn_resnet101_1xb16-100e_coco-448px.py'
DEIT = CONFIGS / 'cnn' / 'cnn_deit-small_1xb16-100e_coco-448px.py'
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a config that builds on another; return its path."""

    def write_file(text: str, base: Path | str = MINI, name: str = 'mine.py') -> str:
        path = tmp_path / name
        path.write_text(f"_base_ = '{base}'\n{text}\n")
        return str(path)

    return write_file


def sizes_of(cfg: Config) -> Iterator[Any]:
    for loader in filter(None, map(cfg.get, LOADERS)):
        for step in loader.dataset.pipeline:
            if 'scale' in step:
                yield step.scale


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_our_configs_override_nothing_in_vain(path: Path) -> None:
    assert find_overridden(str(path)) == []


@pytest.mark.parametrize('by', ['file', 'flag'])
@pytest.mark.parametrize('base', [MINI, COCO], ids=['128 px', '448 px'])
def test_image_size_reaches_every_pipeline(write: Write, base: Path, by: str) -> None:
    before = list(sizes_of(Config.fromfile(base)))
    cfg = (
        read_config(write('image_size = 64', base))
        if by == 'file'
        else read_config(str(base), dict(image_size=64))
    )
    expected = [64 if isinstance(size, int) else (64, 64) for size in before]
    assert list(sizes_of(cfg)) == expected
    assert cfg.image_size == 64
    assert len(expected) >= 2


def test_images_have_the_new_size(write: Write) -> None:
    init_default_scope('mmpretrain')
    cfg = read_config(write('image_size = 48'))
    image = str(SLICE / 'images' / 'animals' / 'bugs' / 'ant.webp')
    for loader in LOADERS:
        pipeline = Compose([TRANSFORMS.build(step) for step in cfg[loader].dataset.pipeline])
        assert pipeline(dict(img_path=image, gt_label=[0]))['inputs'].shape == (3, 48, 48)


def test_a_backbone_of_one_size_goes_along(write: Write) -> None:
    cfg = read_config(write('image_size = 224', DEIT))
    assert cfg.model.backbone.img_size == 224
    assert set(sizes_of(cfg)) == {224, (224, 224)}


def test_a_config_on_top_of_one_of_ones_own(write: Write) -> None:
    middle = write('image_size = 64', name='middle.py')
    assert set(sizes_of(read_config(write('', middle)))) == {64, (64, 64)}
    assert set(sizes_of(read_config(write('image_size = 32', middle)))) == {32, (32, 32)}


def test_who_reads_the_size_sets_what_it_is_for(write: Write) -> None:
    text = """
image_size = 64
pipeline = [dict(type='LoadCheckedImage'), dict(type='Resize', scale=(image_size, image_size)),
            dict(type='PackInputs')]
test_dataloader = dict(dataset=dict(pipeline=pipeline))
"""
    cfg = read_config(write(text))
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (64, 64)
    assert cfg.val_dataloader.dataset.pipeline[1].scale == (128, 128)


def test_a_size_that_reaches_nothing_is_an_error(write: Write) -> None:
    steps = "[dict(type='LoadCheckedImage'), dict(type='Resize', scale=(96, 96))]"
    loaders = '\n'.join(f'{name} = dict(dataset=dict(pipeline={steps}))' for name in LOADERS)
    with pytest.raises(ConfigError, match=r'`image_size` = 64 reaches nothing.*128 of the base'):
        read_config(write(f'image_size = 64\n{loaders}'))
    assert set(sizes_of(read_config(write(loaders)))) == {(96, 96)}


@pytest.mark.parametrize('size', [0, -1, 64.5, True, '64', (64, 64)])
def test_a_size_that_is_none_is_an_error(write: Write, size: Any) -> None:
    with pytest.raises(ConfigError, match='positive number of pixels, but got'):
        read_config(write(f'image_size = {size!r}'))


@pytest.mark.parametrize(
    ('text', 'base', 'expected'),
    [
        (
            "data_root = 'mine/'",
            COCO,
            r'`data_root` in .*mine.py changes nothing.*Set `train_dataloader.dataset.data_root`, '
            '`test_dataloader.dataset.data_root` instead',
        ),
        ('num_labels = 20', COCO, r'`num_labels` .*its own value of it, 80.*meant for instead'),
        (
            "train_pipeline = [dict(type='LoadCheckedImage')]",
            COCO,
            'Set `train_dataloader.dataset.pipeline` instead',
        ),
        (
            "vis_backends = [dict(type='TensorboardVisBackend')]",
            COCO,
            'Set `visualizer.vis_backends` instead',
        ),
        ('in_channels = 7', DEIT, '`in_channels`'),
    ],
)
def test_a_variable_that_nothing_reads_any_more(
    write: Write, text: str, base: Path, expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        read_config(write(text, base))


def test_all_are_named_at_once(write: Write) -> None:
    text = "data_root = 'mine/'\nnum_labels = 20\nimage_size = 0"
    with pytest.raises(ConfigError) as caught:
        read_config(write(text, COCO))
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize(
    'text',
    [
        "data_root = 'mine/'\ntest_dataloader = dict(dataset=dict(data_root=data_root))",
        "data_root = '{{ fileDirname }}/../../../data/coco/'[:0] or {{_base_.data_root}}",
        'num_labels = 80',  # the base's own value
        'my_own_name = 3',
        'load_from = None\nrandomness = dict(seed=1)\nmodel = dict(head=dict(num_classes=3))',
        'def _double(image_size):\n    return 2 * image_size',
    ],
)
def test_what_is_read_or_new_or_a_setting_passes(write: Write, text: str) -> None:
    read_config(write(text, COCO))


def test_a_variable_that_a_config_above_takes_from_its_base(write: Write) -> None:
    middle = write('num_labels = 20', COCO, 'middle.py')
    above = write('model = dict(head=dict(num_classes=_base_.num_labels))', middle)
    assert read_config(above).model.head.num_classes == 20
    with pytest.raises(ConfigError, match=r'middle\.py changes nothing'):
        read_config(write('work_dir = None', middle))


def test_the_command_line_is_no_other(write: Write) -> None:
    with pytest.raises(ConfigError, match='`data_root` in --cfg-options'):
        read_config(str(COCO), dict(data_root='mine/'))
    options = {'model.head.num_classes': 3, 'load_from': 'a.pth', 'new_name': 1}
    cfg = read_config(str(COCO), options)
    assert (cfg.model.head.num_classes, cfg.load_from, cfg.new_name) == (3, 'a.pth', 1)


def test_pure_python_configs_are_read_as_mmengine_does(tmp_path: Path) -> None:
    (tmp_path / 'base.py').write_text('size = 3\ndouble = 2 * size\n')
    text = 'from mmengine.config import read_base\n\nwith read_base():\n    from .base import *\n\n'
    (tmp_path / 'mine.py').write_text(text + 'size = 4\n')
    (tmp_path / '__init__.py').touch()
    cfg = read_config(str(tmp_path / 'mine.py'))
    assert (cfg.size, cfg.double) == (4, 6)
