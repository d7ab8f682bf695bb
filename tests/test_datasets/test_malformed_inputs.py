"""Malformed annotation files and images: each is a clear error that names file and field, or is handled right."""

import copy
import io
import json
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from PIL import Image

from morn_plugin.datasets.annotations import AnnotationError, load_annotations
from morn_plugin.datasets.checked_multi_label import CheckedMultiLabelDataset
from morn_plugin.datasets.transforms import ImageError, LoadCheckedImage
from morn_plugin.datasets.transforms.loading import decode_image
from morn_plugin.engine.hooks import DataCheckHook

VALID = dict(
    metainfo=dict(classes=['cat', 'dog', 'owl']),
    data_list=[
        dict(img_path='a.png', gt_label=[0, 2]),
        dict(img_path='b.png', gt_label=[], gt_label_difficult=[1]),
    ],
)

WRONG_VALUES = [None, True, 1, -1, 2.5, 'text', '', [], {}, [None], [[0]], {'a': 1}]
LABELS = [
    None,
    True,
    0,
    'cat',
    '',
    {},
    [None],
    [True],
    ['0'],
    ['cat'],
    [0.0],
    [1.5],
    [[0]],
    [{}],
    [3],
    [-1],
    [99],
    [10**30],
    [0, 0],
    [1, 2, 1],
    [0, None],
    [float('nan')],
    [float('inf')],
]
CLASSES = [
    None,
    5,
    'cat',
    [],
    {},
    [''],
    ['  '],
    [None],
    [1, 2, 3],
    ['cat', 'cat'],
    ['cat', ['dog']],
    [['cat']],
]
CASES = (
    [('$', value) for value in WRONG_VALUES]
    + [('metainfo', value) for value in [None, True, 1, 'text', [], [1]]]
    + [('metainfo.classes', value) for value in CLASSES]
    + [('data_list', value) for value in [None, True, 1, 'text', [], {}, {'0': {}}]]
    + [('data_list[1]', value) for value in [None, True, 1, 'b.png', [], ['b.png', [0]]]]
    + [
        ('data_list[1].img_path', value)
        for value in [None, True, 1, 1.5, '', [], ['b.png'], {}, 'a\0b.png']
    ]
    + [('data_list[1].gt_label', value) for value in LABELS]
    + [('data_list[1].gt_label_difficult', value) for value in LABELS]
    + [('data_list[0].gt_label_difficult', [0]), ('data_list[0].gt_label_difficult', [1, 2])]
)
TEXTS = [
    b'',
    b' ',
    b'{',
    b'{"metainfo"',
    b'[',
    b'nul',
    b'\xff\xfe{\x00',
    b'\xef\xbb\xbf{}',
    b'{"metainfo": "\xe9"}',
    b'<xml/>',
    b'PK\x03\x04',
    b'{}{}',
    b'a: 1',
    b'[' * 100_000,
    b'{"data_list": [1,]}',
    b"{'data_list': []}",
]


def replaced(field: str, value: Any) -> Any:
    content = copy.deepcopy(VALID)
    if field == '$':
        return value

    *parents, last = [int(part) if part.isdigit() else part for part in re.findall(r'\w+', field)]
    node: Any = content
    for part in parents:
        node = node[part]

    node[last] = value
    return content


@pytest.mark.parametrize(('field', 'value'), CASES, ids=lambda value: str(value)[:30])
def test_wrong_value_names_file_and_field(field: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(replaced(field, value)))
    with pytest.raises(AnnotationError) as caught:
        load_annotations(path)
    message = str(caught.value)
    assert str(path) in message
    expected = field.replace('$', '').split('.')[-1].split('[')[0]
    assert expected in message
    if '[1]' in field:
        assert 'data_list[1]' in message


@pytest.mark.parametrize(
    'missing',
    ['metainfo', 'data_list', 'metainfo.classes', 'data_list[0].img_path', 'data_list[0].gt_label'],
)
def test_missing_field_is_named(missing: str, tmp_path: Path) -> None:
    *parents, last = [int(part) if part.isdigit() else part for part in re.findall(r'\w+', missing)]
    content = copy.deepcopy(VALID)
    node: Any = content
    for part in parents:
        node = node[part]

    del node[last]
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=re.escape(str(path)) + f'.*{last}'):
        load_annotations(path)


@pytest.mark.parametrize('text', TEXTS, ids=lambda text: repr(text[:12]))
def test_file_that_is_no_json_is_named(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'train.json'
    path.write_bytes(text)
    with pytest.raises(AnnotationError, match=re.escape(str(path))):
        load_annotations(path)


def attempt(function: Callable[[], Any], source: str | Path) -> Any:
    """Give the result, or None for an error of ours that names the source; any other error is one."""
    try:
        return function()
    except (AnnotationError, ImageError) as error:
        if str(source) not in str(error):
            raise
        return None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = [
    '$',
    'metainfo',
    'metainfo.classes',
    'metainfo.classes[1]',
    'data_list',
    'data_list[0]',
    'data_list[0].img_path',
    'data_list[0].gt_label',
    'data_list[0].gt_label[1]',
    'data_list[1].gt_label_difficult',
]


@pytest.mark.slow
@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(field=st.sampled_from(FIELDS), value=JSON)
def test_anything_is_an_error_or_valid(field: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(replaced(field, value)))
    annotations = attempt(lambda: load_annotations(path), path)
    if annotations is None:
        return

    targets = annotations.targets()  # whatever was accepted must be usable
    assert targets.shape == (len(annotations), len(annotations.classes))
    assert all(
        isinstance(item['img_path'], str) and item['img_path'] for item in annotations.data_list
    )


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cut=st.integers(0, 200), flip=st.integers(0, 200), bit=st.integers(0, 7))
def test_damaged_file_is_an_error_or_valid(cut: int, flip: int, bit: int, tmp_path: Path) -> None:
    content = bytearray(json.dumps(VALID).encode())
    content[flip % len(content)] ^= 1 << bit
    path = tmp_path / 'train.json'
    path.write_bytes(content[:-cut] if cut else content)
    if attempt(lambda: load_annotations(path).targets(), path) is None:
        return
    assert not cut or cut >= len(content)


# Images


def picture(size: tuple[int, int] = (24, 16)) -> Image.Image:
    """A gradient, so that no two parts of it are the same."""
    y, x = np.mgrid[: size[1], : size[0]]
    return Image.fromarray(np.stack([x * 10, y * 15, x + y], -1).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


KINDS = dict(
    PNG={}, JPEG=dict(quality=95), WEBP=dict(lossless=True), GIF={}, BMP={}, TIFF={}, PPM={},
    JPEG2000={}, ICO=dict(sizes=[(24, 16)]), AVIF={},
)  # fmt: skip


@pytest.mark.parametrize('kind', KINDS)
def test_cut_image_is_an_error_or_whole(kind: str) -> None:
    content = encode(picture(), kind, **KINDS[kind])
    whole = decode_image(content, 'a.img')
    errors = 0
    for length in range(len(content)):
        image = attempt(lambda: decode_image(content[:length], 'a.img'), 'a.img')  # noqa: B023
        assert image is None or np.array_equal(image, whole), length
        errors += image is None
    assert errors >= 0.75 * len(content)  # what is left are endings without pixels


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\0',
        b'\0' * 1000,
        b'text',
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b'%PDF-1.4',
        b'GIF89a',
        b'\x89PNG\r\n\x1a\n',
        b'\xff\xd8\xff\xe0',
        b'RIFF\0\0\0\0WEBP',
        b'BM',
        b'II*\0',
        b'MM\0*',
        b'{"a": 1}',
        b'<html>404 Not Found</html>',
        b'PK\x03\x04',
        b'\x1f\x8b',
    ],
    ids=lambda content: repr(content[:8]),
)
def test_what_is_no_image_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    path.write_bytes(content)
    with pytest.raises(ImageError, match=re.escape(str(path))):
        LoadCheckedImage()(dict(img_path=str(path)))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(bytes(1000)))
        + chunk(b'IEND', b'')
    )


@pytest.mark.parametrize(
    'size', [(100_001, 1000), (60_000, 60_000), (1 << 30, 1 << 30), (0, 5), (10_001, 10_000)]
)
def test_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=r'bomb\.png'):
        decode_image(bomb(*size), 'bomb.png')


def grey16(value: int) -> Image.Image:
    return Image.fromarray(np.full((16, 24), value, np.uint16))


def palette_transparent() -> Image.Image:
    image = Image.new('P', (24, 16), 1)
    image.putpalette([9, 9, 9, 200, 100, 50])
    image.info['transparency'] = 1
    return image


# What it is, its bytes, and the one colour that all of it must come out as (JPEG may round).
MODES: dict[str, tuple[Callable[[], bytes], tuple[int, int, int]]] = {
    'black and white': (lambda: encode(Image.new('1', (24, 16), 1), 'PNG'), (255, 255, 255)),
    'grey': (lambda: encode(Image.new('L', (24, 16), 77), 'PNG'), (77, 77, 77)),
    'grey 16 bit png': (lambda: encode(grey16(0x4D80), 'PNG'), (77, 77, 77)),
    'grey 16 bit tiff': (lambda: encode(grey16(0x4D80), 'TIFF'), (77, 77, 77)),
    'grey and alpha': (lambda: encode(Image.new('LA', (24, 16), (77, 0)), 'PNG'), (255, 255, 255)),
    'half transparent': (
        lambda: encode(Image.new('RGBA', (24, 16), (0, 0, 0, 128)), 'PNG'),
        (127, 127, 127),
    ),
    'palette': (lambda: encode(picture_of((200, 100, 50)).quantize(), 'PNG'), (200, 100, 50)),
    'palette with a transparent colour': (
        lambda: encode(palette_transparent(), 'PNG', transparency=1),
        (255, 255, 255),
    ),
    'cmyk jpeg': (
        lambda: encode(Image.new('CMYK', (24, 16), (255, 0, 0, 0)), 'JPEG', quality=100),
        (0, 255, 255),
    ),
    'cmyk tiff': (
        lambda: encode(Image.new('CMYK', (24, 16), (0, 0, 255, 0)), 'TIFF'),
        (255, 255, 0),
    ),
    'animated gif': (lambda: frames('GIF'), (200, 100, 50)),
    'animated webp': (lambda: frames('WEBP', lossless=True), (200, 100, 50)),
    'animated png': (lambda: frames('PNG'), (200, 100, 50)),
    'several pages': (lambda: frames('TIFF'), (200, 100, 50)),
    'one pixel high': (lambda: encode(picture_of((1, 2, 3), (24, 1)), 'PNG'), (1, 2, 3)),
}


def picture_of(colour: tuple[int, int, int], size: tuple[int, int] = (24, 16)) -> Image.Image:
    return Image.new('RGB', size, colour)


def frames(kind: str, **options: Any) -> bytes:
    return encode(
        picture_of((200, 100, 50)),
        kind,
        save_all=True,
        append_images=[picture_of((0, 0, 255))],
        **options,
    )


@pytest.mark.parametrize('name', MODES)
def test_unusual_image_is_right(name: str, tmp_path: Path) -> None:
    make, colour = MODES[name]
    path = tmp_path / 'image'  # by content, not by ending
    path.write_bytes(make())
    image = LoadCheckedImage()(dict(img_path=str(path)))['img']
    assert image.dtype == np.uint8
    assert image.shape[1:] == (24, 3)
    assert np.abs(image.astype(int) - colour[::-1]).max() <= 3  # BGR


@pytest.mark.parametrize('orientation', range(1, 9))
def test_rotated_by_exif_is_upright(orientation: int) -> None:
    upright = picture()
    # How each orientation is stored, from the EXIF standard: where row 0 and column 0 of the file
    # lie in the picture.
    stored = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, 3),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored[orientation](np.asarray(upright))))
    assert np.array_equal(
        decode_image(encode(image, 'PNG', exif=exif), 'a.png'), np.asarray(upright)
    )


def test_float_image_is_refused() -> None:
    image = Image.fromarray(np.full((4, 4), 0.5, np.float32))
    with pytest.raises(ImageError, match=r'a\.tiff.*mode F'):
        decode_image(encode(image, 'TIFF'), 'a.tiff')


# Data sets


def make_dataset(folder: Path, names: list[str], **options: Any) -> CheckedMultiLabelDataset:
    content = dict(VALID, data_list=[dict(img_path=name, gt_label=[0]) for name in names])
    (folder / 'ann.json').write_text(json.dumps(content))
    return CheckedMultiLabelDataset(
        data_root=str(folder),
        ann_file='ann.json',
        pipeline=[dict(type='LoadCheckedImage')],
        **options,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / 'root'
    (root / 'sub').mkdir(parents=True)
    for name in ('a.png', 'b.png', 'sub/c.png'):
        picture().save(root / name)

    (root / 'cut.png').write_bytes((root / 'a.png').read_bytes()[:60])
    (root / 'empty.png').touch()
    (root / 'folder.png').mkdir()
    (root / 'loop.png').symlink_to('loop.png')
    (root / 'dangling.png').symlink_to('nowhere.png')
    picture().save(tmp_path / 'outside.png')
    (root / 'link.png').symlink_to(tmp_path / 'outside.png')
    return root


BROKEN = [
    'cut.png',
    'empty.png',
    'folder.png',
    'loop.png',
    'dangling.png',
    'none.png',
    'sub\\c.png',
    'C:\\images\\a.png',
    '\udcff.png',
    '\ud800.png',
    'a' * 5000,
    'a.png/b.png',
    '~nobody/a.png',
]


@pytest.mark.parametrize('name', BROKEN, ids=ascii)
def test_broken_image_stops_the_run(name: str, folder: Path) -> None:
    with pytest.raises((ImageError, FileNotFoundError)) as caught:
        make_dataset(folder, ['a.png', name])[1]
    assert os.path.basename(name) in str(caught.value)
    if '\\' in name:
        assert 'backslashes' in str(caught.value)


def test_broken_images_are_skipped_and_named_on_demand(folder: Path) -> None:
    dataset = make_dataset(folder, ['a.png', *BROKEN, 'b.png'], corrupt_images='skip')
    assert [Path(dataset[i]['img_path']).name for i in range(len(dataset))] == ['a.png', 'b.png']
    assert len(dataset.skipped) == len(BROKEN)
    for name in BROKEN:
        assert any(os.path.basename(name) in reason for reason in dataset.skipped)


def test_nothing_left_is_an_error(folder: Path) -> None:
    with pytest.raises(ImageError, match='none of its 2 images can be read'):
        make_dataset(folder, ['cut.png', 'none.png'], corrupt_images='skip')


def test_unknown_policy_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match='`corrupt_images` to be one of'):
        make_dataset(folder, ['a.png'], corrupt_images='ignore')


@pytest.mark.parametrize(
    'name', ['a.png', './a.png', 'sub/../a.png', 'sub/c.png', 'link.png', '../outside.png']
)
def test_links_and_paths_out_of_the_root_are_followed(name: str, folder: Path) -> None:
    assert make_dataset(folder, [name])[0]['img'].shape == (16, 24, 3)


def test_name_that_is_not_utf8_loads(folder: Path) -> None:
    raw = os.fsencode(folder) + b'/\xe9t\xe9.png'
    try:
        with open(raw, 'wb') as file:
            file.write(encode(picture(), 'PNG'))
    except OSError:
        pytest.skip('the file system takes UTF-8 names only')
    assert make_dataset(folder, [os.fsdecode(os.path.basename(raw))])[0]['img'].shape == (16, 24, 3)


class FakeRunner:
    """As much of a runner as DataCheckHook looks at."""

    def __init__(self, folder: Path, train: list[str], test: list[str]) -> None:
        self.warnings: list[str] = []
        self.logger = type('Logger', (), dict(warning=staticmethod(self.warnings.append)))
        loaders = {}
        for name, names in (('train', train), ('test', test)):
            make_dataset(folder, names)
            os.replace(folder / 'ann.json', folder / f'{name}.json')
            loaders[f'{name}_dataloader'] = dict(
                dataset=dict(
                    type='RepeatDataset',
                    times=2,
                    dataset=dict(
                        type='CheckedMultiLabelDataset',
                        data_root=str(folder),
                        ann_file=f'{name}.json',
                    ),
                )
            )

        self.cfg = ConfigDict(loaders)
        init_default_scope('mmpretrain')
        dataset = DATASETS.build(self.cfg.train_dataloader.dataset)
        self.train_dataloader = SimpleNamespace(dataset=dataset)
        self._val_loop = self._test_loop = None


@pytest.mark.slow
@pytest.mark.parametrize(
    ('test', 'shared'),
    [(['b.png'], False), (['b.png', 'sub/../a.png'], True), (['../outside.png'], True)],
)
def test_image_in_two_splits_is_an_error(test: list[str], shared: bool, folder: Path) -> None:
    runner = FakeRunner(folder, ['a.png', 'link.png'], test)
    if not shared:
        DataCheckHook().before_train(runner)
        return

    with pytest.raises(
        ValueError, match=r'1 images of train_dataloader are in test_dataloader too.*png'
    ):
        DataCheckHook().before_train(runner)

    DataCheckHook('warn').before_train(runner)
    assert len(runner.warnings) == 1
    DataCheckHook('ignore').before_train(runner)
