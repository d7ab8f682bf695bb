"""Preparing images without OpenCV, against OpenCV and the pipeline's own transforms."""

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmpretrain.registry import TRANSFORMS

from morn_plugin.deploy.images import list_images, prepare_image, resize_bilinear


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
    with pytest.raises(FileNotFoundError, match='holds no image'):
        list_images([tmp_path / 'empty'])
