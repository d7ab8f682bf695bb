"""Preparing images without OpenCV, against OpenCV and the pipeline's own transforms."""

from pathlib import Path

import cv2
import numpy as np
import picture_files as make
import pytest
from mmengine.registry import init_default_scope
from mmpretrain.registry import TRANSFORMS

from morn_plugin.deploy.images import ImageError, list_images, prepare_image, resize_bilinear


def make_image(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize('old', [(300, 200), (60, 61), (1, 5), (128, 96)])
@pytest.mark.parametrize('new', [(128, 96), (7, 3), (1, 1), (200, 301)])
def test_resizing_is_that_of_opencv(old, new):
    """To the bit, as its plain code computes; its vector code may round one in a thousand otherwise."""
    image = make_image(*old)
    expected = cv2.resize(image, new, interpolation=cv2.INTER_LINEAR)
    found = resize_bilinear(image, new)
    assert found.shape == expected.shape
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert difference.mean() <= 0.001


@pytest.mark.parametrize('shape', [(50, 70), (70, 50), (40, 40), (33, 100)])
@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_transforms_are_those_of_the_pipeline(shape, backend):
    init_default_scope('mmpretrain')
    image = make_image(*shape)
    results = dict(img=image[..., ::-1].copy())
    for config in (
        dict(type='ResizeEdge', scale=32, backend=backend),
        dict(type='CenterCrop', crop_size=(28, 24)),
        dict(type='Resize', scale=(20, 16), backend=backend),
    ):
        results = TRANSFORMS.build(config).transform(results)

    expected = results['img'].astype(np.float32)  # BGR
    steps = [
        dict(type='resize_edge', scale=32, backend=backend),
        dict(type='center_crop', size=[28, 24]),
        dict(type='resize', scale=[20, 16], backend=backend),
    ]
    for channels, wanted in (('BGR', expected), ('RGB', expected[..., ::-1])):
        found = prepare_image(
            image, dict(transforms=steps, channels=channels, mean=[10, 20, 30], std=[2, 4, 5])
        )
        values = found.transpose(1, 2, 0) * [2, 4, 5] + [10, 20, 30]
        assert np.abs(values - wanted).max() <= 1e-3


def test_a_thin_line_is_not_made_a_huge_image():
    """256 pixels along its short edge would take 6 GB."""
    line = np.zeros((1, 30_000, 3), np.uint8)
    steps = [dict(type='resize_edge', scale=256, backend='cv2')]
    with pytest.raises(ImageError, match='30000 x 1 pixels would become one of 7680000 x 256'):
        prepare_image(line, dict(transforms=steps, channels='RGB', mean=None, std=None))


def test_a_file_meant_twice_comes_once(tmp_path):
    for name in ('b.jpg', 'a.png', 'note.txt'):
        (tmp_path / name).write_text('')

    files = list_images(
        [tmp_path / 'b.jpg', tmp_path, str(tmp_path / '*.png'), 'missing.png', 's3://bucket/x']
    )
    assert files == [
        str(tmp_path / 'b.jpg'),
        str(tmp_path / 'a.png'),
        'missing.png',
        's3://bucket/x',
    ]
    (tmp_path / 'album.jpg').mkdir()
    assert len(list_images([tmp_path])) == 2
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='contains no image'):
        list_images([tmp_path / 'empty'])


def test_images_of_every_ending_and_of_none_are_found_in_a_folder(tmp_path):
    names = [
        'a.jpg',
        'b.jfif',
        'c.avif',
        'd.jpe',
        'e.jp2',
        'f.MPO',
        'g.pgm',
        'h.heic',
        'i.ico',
        'k',
        'l.bin',
    ]
    for name in names:
        (tmp_path / name).write_bytes(make.encode(make.gradient(), 'PNG'))

    (tmp_path / 'notes').write_text('BMW is a make of cars, and P5 a process.')
    (tmp_path / 'empty').touch()
    (tmp_path / 'data.json').write_text('{}')
    assert [Path(path).name for path in list_images(tmp_path)] == names


def test_pictures_of_other_kinds_are_counted(tmp_path):
    (tmp_path / 'a.png').write_bytes(make.encode(make.gradient(), 'PNG'))
    (tmp_path / 'b.svg').write_text('<svg/>')
    (tmp_path / 'c.dng').write_bytes(make.encode(make.gradient(), 'TIFF'))
    with pytest.warns(
        UserWarning, match=r'2 pictures of other kinds are left out \(b\.svg, \.\.\.\)'
    ):
        assert list_images([tmp_path]) == [str(tmp_path / 'a.png')]


@pytest.mark.parametrize('item', [0.5, b'a.jpg', None, np.zeros((4, 4, 3), np.uint8)])
def test_what_is_no_path_is_refused_by_its_kind(item):
    with pytest.raises(
        TypeError, match=rf'got a {type(item).__name__}|got a numpy\.ndarray of shape'
    ):
        list_images([item])
