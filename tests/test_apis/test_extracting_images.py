"""Cached files of images that no data set lists, and of shards put together."""

import json
import shutil

import numpy as np
import pytest
from tools_helpers import SLICE

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.apis.extracting_images import extract_images, merge_scores
from morn_plugin.datasets.annotations import Annotations
from morn_plugin.datasets.cached.file import ScoreFile, load_scores, save_scores
from morn_plugin.datasets.wrapping import NumberedDataset
from morn_plugin.deploy.image_streams import ImageStream
from morn_plugin.deploy.run_notes import RunNote, load_note
from morn_plugin.deploy.shards import Shard

IMAGES = [
    SLICE / item['img_path']
    for item in json.loads((SLICE / 'test.json').read_text())['data_list'][:7]
]
ORIGIN = dict(checkpoint_sha256='0a')


@pytest.fixture(scope='module')
def inferencer(work_dir):
    return MultiLabelInferencer(work_dir, device='cpu')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Seven images, of which the third is damaged."""
    folder = tmp_path_factory.mktemp('images')
    for number, image in enumerate(IMAGES):
        shutil.copy(image, folder / f'{number}.webp')
    (folder / '2.webp').write_bytes(IMAGES[2].read_bytes()[:-100])
    return folder


def extract(inferencer, folder, out, shard=None, inputs=('features',)):
    stream = ImageStream([folder], shard=shard)
    return extract_images(inferencer, stream, stream.shard.path(out), inputs, ORIGIN, batch_size=2)


def test_a_file_holds_what_the_model_gives_for_what_can_be_read(inferencer, folder, tmp_path):
    out = tmp_path / 's.safetensors'
    outcome = extract(inferencer, folder, out)
    assert (outcome.images, outcome.failed) == (7, 1)
    assert '2.webp cannot be decoded' in outcome.examples[0]['error']
    assert load_note(out).failed == [2]
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, f'{out.name}.run.json']

    file = load_scores(out, inferencer.classes)
    assert file.provenance == ORIGIN
    names = [f'{folder}/{number}.webp' for number in (0, 1, 3, 4, 5, 6)]
    assert [item['img_path'] for item in file.annotations.data_list] == names
    assert not file.annotations.targets().any()
    expected = [record['cnn_scores'] for record in inferencer(names)['predictions']]
    np.testing.assert_allclose(file.scores, expected, atol=1e-5)
    assert file.inputs['features'].shape == (6, 64)


@pytest.mark.parametrize('total', [2, 5])
def test_merged_shards_are_the_file_of_one_process(inferencer, folder, tmp_path, total):
    extract(inferencer, folder, tmp_path / 'one.safetensors')
    for number in range(1, total + 1):
        extract(inferencer, folder, tmp_path / 's.safetensors', Shard(number, total))

    outcome = merge_scores(tmp_path / 's.safetensors')
    assert (outcome.images, outcome.failed) == (7, 1)

    one, merged = (load_scores(tmp_path / f'{name}.safetensors') for name in ('one', 's'))
    assert merged.annotations == one.annotations
    assert merged.provenance == one.provenance
    np.testing.assert_allclose(merged.scores, one.scores, atol=1e-6)
    features = one.inputs['features']
    np.testing.assert_allclose(merged.inputs['features'], features, atol=1e-5 * features.max())
    notes = [load_note(tmp_path / f'{name}.safetensors') for name in ('one', 's')]
    assert notes[0] == notes[1]


def test_shards_that_do_not_fit_are_not_merged(tmp_path):
    out = tmp_path / 's.safetensors'

    def write(number, rows, settings=ORIGIN, failed=(), images=None):
        items = [dict(img_path=f'{number}-{row}.jpg', gt_label=[]) for row in range(rows)]
        scores = np.full((rows, 2), number / 8, np.float32)
        path = Shard(number, 2).path(out)
        save_scores(path, ScoreFile(scores, Annotations(['a', 'b'], items), dict(settings)))
        RunNote(dict(settings), f'{number}/2', images, list(failed)).save(path)

    write(1, 2, images=2)
    write(2, 1)
    with pytest.raises(ValueError, match=r'not finished: .*s-2-of-2'):
        merge_scores(out)
    write(2, 1, dict(checkpoint_sha256='0b'), images=1)
    with pytest.raises(ValueError, match=r'made with different settings(.|\n)*checkpoint_sha256'):
        merge_scores(out)
    write(2, 3, images=3)
    with pytest.raises(ValueError, match='expected 3 images, its share of 5, but it has 2'):
        merge_scores(out)
    write(2, 0, failed=[0], images=1)
    assert merge_scores(out).images == 3
    assert [item['img_path'] for item in load_scores(out).annotations.data_list] == [
        '1-0.jpg',
        '1-1.jpg',
    ]


class Numbers:
    metainfo = dict(classes=('a',))

    def __len__(self):
        return 7

    def get_data_info(self, index):
        return dict(place=index)


def test_a_share_of_a_data_set_is_counted_on_its_own():
    parts = [NumberedDataset(Numbers(), shard=(number, 3)) for number in (1, 2, 3)]
    assert [len(part) for part in parts] == [3, 2, 2]
    found = [[part.get_data_info(i)['place'] for i in range(len(part))] for part in parts]
    assert found == [[0, 3, 6], [1, 4], [2, 5]]
