"""What happens on the page, without Gradio: files read and deleted, pictures kept within bounds."""

import json
import os
import re
import time
from pathlib import Path

import numpy as np
import picture_files as make
import pytest
from PIL import Image
from tools_helpers import SLICE

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.apis.visits import Shelf, Shown, Uploads, Visits
from morn_plugin.apis.web_page import remove_left_folders
from morn_plugin.deploy.limits import Limits

IMAGES = [
    str(SLICE / item['img_path'])
    for item in json.loads((SLICE / 'test.json').read_text())['data_list'][:3]
]


@pytest.fixture(scope='module')
def inferencer(work_dir):
    return MultiLabelInferencer(work_dir, device='cpu')


@pytest.fixture
def visit(inferencer, tmp_path):
    """Make a page's inside with the limits that a test asks for."""

    def build(**limits):
        limits = Limits(**limits)
        folder = tmp_path / 'uploads'
        folder.mkdir()
        return Visits(inferencer, limits, Uploads(folder, limits.lifetime), Shelf(limits))

    return build


def drop(visits, *contents):
    """Write files as Gradio does, each into a folder of its own."""
    paths = []
    for index, (name, content) in enumerate(contents):
        folder = visits.uploads.folder / f'hash{index}'
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        paths.append(str(folder / name))
    return paths


def pictures(*places):
    return [(os.path.basename(IMAGES[place]), Path(IMAGES[place]).read_bytes()) for place in places]


def test_uploads_are_limited_and_wrong_ones_named(visit):
    visits = visit(max_images=5, max_megabytes=1, max_pixels=1_000_000)
    many = make.encode(Image.new('1', (1100, 1000)), 'PNG')
    files = drop(
        visits, *pictures(0), ('bad.png', b'x'), ('cat.jpg', make.eps('')),
        ('big.png', b'x' * 1_000_001), ('many.png', many), *pictures(1),
    )  # fmt: skip
    key, complaints = visits.upload(files)
    assert [item.name for item in visits.shelf.get(key)] == [os.path.basename(IMAGES[0])]
    assert complaints.split('\n\n')[0] == '6 images were dropped; the first 5 are shown.'
    assert re.search(
        r'bad\.png cannot be decoded[\s\S]*cat\.jpg .* expected one of JPEG[\s\S]*'
        r'big\.png is larger than 1 MB[\s\S]*many\.png has 1100 x 1000 pixels: expected at most '
        r'1000000 in all\. Shrink it, or raise --max-pixels of serve\.py to 1100000',
        complaints,
    )
    assert str(visits.uploads.folder) not in complaints


def test_table_and_cards_follow_the_threshold(visit):
    visits = visit()
    key, complaints = visits.upload(drop(visits, *pictures(0, 1)))
    assert complaints == ''

    counts = []
    for thr in (0.0, 0.5, 1.0):
        rows, cards = visits.show(thr, key)
        assert [row[0] for row in rows] == [os.path.basename(path) for path in IMAGES[:2]]
        assert cards.count('src="data:image/png;base64,') == 2
        assert cards.count('<tr>') == 2 * 3
        counts.append(0 if rows[0][1] == '(none)' else rows[0][1].count(',') + 1)

    assert counts[0] > counts[1] > counts[2] == 0
    assert visits.show(0.5, None) == ([], '')
    own, _ = visits.show(None, key)
    assert own == visits.show(0.5, key)[0]
    assert visits.show([0.5] * 41, key)[0] == own


def test_pictures_are_those_of_the_model_on_the_whole_file(visit, inferencer):
    visits = visit()
    key, _ = visits.upload(drop(visits, *pictures(2)))
    (found,) = visits.shelf.get(key)
    expected = inferencer(IMAGES[2])['predictions'][0]
    np.testing.assert_allclose(found.record['scores'], expected['scores'], atol=1e-6)
    assert found.record['labels'] == expected['labels']


def test_files_are_deleted_when_they_have_been_read(visit, tmp_path):
    visits = visit(max_images=2)
    outside = tmp_path / 'mine.png'
    outside.write_bytes(pictures(0)[0][1])
    files = drop(visits, *pictures(0), ('bad.png', b'x'), *pictures(1))  # the last is one too many
    visits.upload([*files, str(outside)])
    assert not [path for path in visits.uploads.folder.rglob('*') if path.is_file()]
    assert outside.is_file()  # nothing outside of the folder goes


def test_what_is_left_lying_goes_later_and_examples_stay(visit):
    visits = visit(lifetime=100)
    (example,) = drop(visits, ('example.png', b'x'))
    visits.uploads.keep()
    (left,) = drop(visits, ('left.png', b'x'))
    visits.uploads.sweep(time.time() + 90)
    assert os.path.exists(left)
    visits.uploads.sweep(time.time() + 110)
    assert not os.path.exists(left)
    visits.uploads.delete([example])
    assert os.path.exists(example)


def test_folders_of_pages_that_were_killed_go(tmp_path):
    for name, hours in (('morn_page_dead', 2), ('morn_page_alive', 0), ('other', 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'a.png').touch()
        os.utime(tmp_path / name, (time.time() - 3600 * hours,) * 2)

    (tmp_path / 'morn_page_link').symlink_to(tmp_path / 'other')
    remove_left_folders(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ['morn_page_alive', 'morn_page_link', 'other']
    assert (tmp_path / 'other' / 'a.png').exists()


def make_shown(megabytes, name='a'):
    return Shown(np.zeros((1000, 1000, megabytes), np.uint8), name, dict(scores=np.zeros(0)))


def test_pictures_expire_and_their_sum_is_bounded():
    now = [0.0]
    shelf = Shelf(Limits(lifetime=60, kept_megabytes=10), lambda: now[0])
    keys = [shelf.put([make_shown(3)]) for _ in range(3)]
    assert len(set(keys)) == 3
    assert shelf.size == 9_000_000
    shelf.get(keys[0])  # looked at last
    keys.append(shelf.put([make_shown(3)]))
    assert [shelf.get(key) is None for key in keys] == [False, True, False, False]
    now[0] = 50
    assert shelf.get(keys[0])
    now[0] = 70
    shelf.expire()
    assert [shelf.get(key) is None for key in keys] == [False, True, True, True]
    shelf.discard(keys[0])
    assert shelf.size == 0
    assert shelf.get(keys[0]) is shelf.get(None) is shelf.get('guess') is None


def test_one_visit_alone_cannot_be_larger_than_the_bound():
    shelf = Shelf(Limits(kept_megabytes=2))
    assert shelf.get(shelf.put([make_shown(3)])) is None
    assert shelf.size == 0


def test_expired_pictures_are_said_to_be_gone(visit):
    visits = visit()
    key, _ = visits.upload(drop(visits, *pictures(0)))
    visits.shelf.discard(key)
    rows, cards = visits.show(0.5, key)
    assert rows == []
    assert 'no longer kept' in cards


def test_what_is_kept_of_a_large_image_is_small(visit):
    """A picture of 12 megapixels takes 37 MB as an array; kept is what is shown."""
    visits = visit()
    large = make.encode(Image.new('RGB', (4000, 3000), (9, 99, 199)), 'JPEG')
    key, _ = visits.upload(drop(visits, *[(f'{place}.jpg', large) for place in range(3)]))
    assert visits.shelf.size < 3 * 400_000
    (first, *_) = visits.shelf.get(key)
    assert first.image.shape == (270, 360, 3)
    assert first.image.base is None  # no view of the large one


def test_examples_are_decoded_and_private_files_are_not_offered(visit, tmp_path):
    secret = tmp_path / 'secret.png'
    secret.write_text('password')
    link = tmp_path / 'device.png'
    link.symlink_to('/dev/zero')
    visits = visit()
    complaints = visits.offer([IMAGES[0], str(secret), str(link), str(tmp_path / 'gone.png')])
    assert len(visits.examples) == 1
    assert len(complaints) == 3
    assert re.search(r'secret\.png cannot be decoded', complaints[0])
    key = visits.choose_example(0)
    rows, _ = visits.show(0.5, key)
    assert rows[0][0] == os.path.basename(IMAGES[0])
    with pytest.raises(IndexError):
        visits.choose_example(1)


def test_file_names_that_are_no_text_are_shown(visit):
    visits = visit()
    key, complaints = visits.upload(
        drop(
            visits,
            (os.fsdecode(b'a\xff.png'), pictures(0)[0][1]),
            (os.fsdecode(b'b\xff.png'), b'x'),
        )
    )
    rows, cards = visits.show(0.5, key)
    assert rows[0][0] == 'a\\xff.png'
    (rows[0][0] + cards + complaints).encode()
    assert 'b\\xff.png cannot be decoded' in complaints
