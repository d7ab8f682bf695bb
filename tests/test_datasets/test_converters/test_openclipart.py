import gzip
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from miniatures import noise
from PIL import Image

from morn_plugin.datasets.annotations import load_annotations
from morn_plugin.datasets.converters.openclipart import run
from morn_plugin.datasets.converters.openclipart.collection import Picture
from morn_plugin.datasets.converters.openclipart.conversion import convert as convert_library
from morn_plugin.datasets.converters.openclipart.entries import Entry, drop_crossing
from morn_plugin.datasets.converters.openclipart.errors import (
    BlankPictureError,
    MalformedSvgError,
    TooManyPixelsError,
    UnsafeSvgError,
)
from morn_plugin.datasets.converters.openclipart.keywords import (
    ALIASES,
    MINI_CLASSES,
    STOP_KEYWORDS,
    clean_keywords,
    normalise,
)
from morn_plugin.datasets.converters.openclipart.pictures import decode, png_size
from morn_plugin.datasets.converters.openclipart.pictures import render as render_picture
from morn_plugin.datasets.converters.openclipart.plan import Plan
from morn_plugin.datasets.converters.openclipart.svg import read_svg
from morn_plugin.datasets.near_duplicates import fingerprint, near_duplicates

MINI = Path(__file__).parents[2] / 'data' / 'openclipart_mini'


def svg(*keywords, prolog=''):
    items = ''.join(f'<rdf:li>{keyword}</rdf:li>' for keyword in keywords)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{prolog}<svg xmlns="http://www.w3.org/2000/svg" '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/">'
        '<metadata><rdf:RDF><dc:creator><rdf:Bag><rdf:li>nobody</rdf:li></rdf:Bag></dc:creator>'
        f'<dc:subject><rdf:Bag>{items}</rdf:Bag></dc:subject></rdf:RDF></metadata></svg>'
    )


def with_alpha(picture, mode='RGBA'):
    """The left half of a picture, on nothing."""
    picture = picture.convert(mode)
    alpha = Image.new('L', picture.size, 0)
    alpha.paste(255, (0, 0, picture.width // 2, picture.height))
    picture.putalpha(alpha)
    return picture


class Library:
    """A small collection, unpacked."""

    def __init__(self, root):
        self.root = root / 'usr' / 'share' / 'openclipart'

    def add(self, name, picture, text=None, suffix='.svg'):
        path = self.root / 'png' / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, bytes):
            path.write_bytes(picture)
        elif isinstance(picture, str):
            path.symlink_to(self.root / 'png' / f'{picture}.png')
        else:
            picture.save(path)

        if text is not None:
            path = self.root / 'svg' / f'{name}{suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())


BILLION_LAUGHS = '<!DOCTYPE svg [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.fixture
def library(tmp_path):
    """Every trap once or twice, between plain pictures with `bird` and `animal`."""
    library = Library(tmp_path / 'unpacked')
    for seed in range(40):
        library.add(
            f'animals/plain_{seed:02}',
            noise(seed),
            svg('bird' if seed % 2 else 'Animal ', 'rare'[:seed]),
        )

    library.add('modes/palette', noise(100).convert('P'), svg('animals'))  # alias
    library.add('modes/grey_alpha', with_alpha(noise(101), 'L'), svg('animal'))
    library.add('modes/rgba', with_alpha(noise(102)), svg('hash', ' BIRD', ''))
    library.add('modes/zipped', noise(103), gzip.compress(svg('bird', 'animal').encode()), '.svgz')
    library.add(
        'modes/entity', noise(104), svg('&b;', prolog='<!DOCTYPE svg [<!ENTITY b "bird">]>')
    )
    library.add(
        'odd/stopped', noise(105), svg('Architetto  Francesco Rollandin', 'unsorted', 'special')
    )
    library.add('odd/no_keywords', noise(106), svg())
    library.add('odd/no_svg', noise(107))
    library.add('odd/malformed', noise(108), '<svg><dc:subject>')
    library.add('odd/laughs', noise(109), svg('bird', '&b;', prolog=BILLION_LAUGHS))
    library.add(
        'odd/external',
        noise(110),
        svg('bird', prolog='<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/x">]>'),
    )
    library.add('odd/huge', noise(111, side=400), svg('bird'))
    library.add('odd/tiny', noise(112, side=6), svg('bird'))
    library.add('odd/blank', Image.new('RGBA', (60, 60), (0, 0, 0, 0)), svg('bird'))
    library.add('odd/broken', b'\x89PNG\r\n\x1a\n but no more', svg('bird'))
    library.add('odd/dangling', 'odd/nowhere', svg('bird'))
    library.add('twin/linked', 'animals/plain_01', svg('animal'))  # elsewhere it is a bird
    library.add('twin/larger', noise(3, side=120), svg('bird'))  # plain_03 once more
    for folder in ('shapes/stars', 'special/gradients', 'unsorted/duplicates'):
        library.add(f'{folder}/left_out', noise(120), svg('bird'))

    library.add('shapes/stars_and_more/stays', noise(121), svg('bird'))
    return library


@pytest.fixture(autouse=True)
def small_limit(monkeypatch):
    monkeypatch.setattr(decode, '__defaults__', (200 * 200,))


PLAN = Plan(size=64, min_count=10)


def convert(library, out, plan=PLAN):
    return convert_library(library.root.parents[2], out, plan, 'command')


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def test_report_counts_every_trap(library, tmp_path):
    report = convert(library, tmp_path / 'out')
    assert report['files'] == {
        'png': 62,
        'excluded_folders': {'shapes/stars': 1, 'special': 1, 'unsorted': 1},
        'considered': 58,
        'svg_gzipped': 1,
        'svg_with_entities': 1,
        'svg_without_keywords': 1,
        'copies': 1,
        'pictures_with_copies_of_other_keywords': 1,
        'merged': False,
    }
    assert report['problems'] == {
        'dangling_link': ['odd/dangling'],
        'svg_malformed': ['odd/malformed'],
        'svg_missing': ['odd/no_svg'],
        'svg_unsafe': ['odd/external', 'odd/laughs'],
    }
    assert report['unusable'] == {
        'too_many_pixels': ['odd/huge'],
        'too_small': ['odd/tiny'],
        'broken': ['odd/broken'],
        'blank': ['odd/blank'],
    }
    assert report['modes'] == {'LA': 1, 'P': 1, 'RGB': 51, 'RGBA': 1}
    assert {key: n for key, n in report['stop_keywords'].items() if n} == {
        '': 2,
        'hash': 1,
        'unsorted': 1,
        'special': 1,
        'architetto francesco rollandin': 1,
    }
    assert {key: n for key, n in report['aliases'].items() if n} == {'animals': 1}
    # The twins are the only near-duplicates: plain_01 and its link, plain_03 and its enlargement.
    assert report['near_duplicates']['groups_by_size'] == {'1': 50, '2': 2}
    # 54 pictures less stopped, no_keywords, no_svg, malformed, laughs, external.
    assert report['chosen']['pictures'] == 48
    assert report['chosen']['pictures_with_too_few_labels'] == 6


def test_labels_are_clean_and_sorted(library, tmp_path):
    convert(library, tmp_path / 'out', Plan(size=64, min_count=2))
    train, test = (
        load_annotations(tmp_path / 'out' / f'{side}.json') for side in ('train', 'test')
    )
    # 'rare'[:seed] gives 'r' to one picture, 'ra' and 'rar' to one each, 'rare' to 36.
    assert train.classes == test.classes == ['animal', 'bird', 'rare']
    labels = {item['img_path']: item['gt_label'] for item in train.data_list + test.data_list}
    assert labels['images/modes/palette.png'] == [0]
    assert labels['images/modes/rgba.png'] == [1]
    assert labels['images/modes/zipped.png'] == [0, 1]
    assert labels['images/modes/entity.png'] == [1]
    assert labels['images/animals/plain_04.png'] == [0, 2]
    assert labels['images/animals/plain_01.png'] == [1]
    assert labels['images/twin/linked.png'] == [0]
    # animal: 20 plain, palette, grey_alpha, zipped, linked; bird: 20 plain, rgba, zipped, entity,
    # larger, stays.
    assert (train.label_counts() + test.label_counts()).tolist() == [24, 25, 36]


def test_merged_copies_have_the_keywords_of_all(library, tmp_path):
    report = convert(library, tmp_path / 'out', Plan(size=64, min_count=10, merge_copies=True))
    labels = {
        item['img_path']: item['gt_label']
        for side in ('train', 'test')
        for item in load_annotations(tmp_path / 'out' / f'{side}.json').data_list
    }
    assert labels['images/animals/plain_01.png'] == [0, 1]
    assert 'images/twin/linked.png' not in labels
    assert report['chosen']['pictures'] == 47


def test_sides_partition_and_keep_twins_together(library, tmp_path):
    convert(library, tmp_path / 'out')
    sides = {
        name: {
            item['img_path']
            for item in load_annotations(tmp_path / 'out' / f'{name}.json').data_list
        }
        for name in ('train', 'test', 'train_fit', 'val')
    }
    assert not sides['train'] & sides['test']
    assert not sides['train_fit'] & sides['val']
    assert sides['train_fit'] | sides['val'] == sides['train']
    assert sorted(sides['train'] | sides['test']) == sorted(
        path for path in content(tmp_path / 'out') if path.startswith('images/')
    )

    for twins in (('animals/plain_01', 'twin/linked'), ('animals/plain_03', 'twin/larger')):
        for paths in sides.values():
            assert len({f'images/{name}.png' in paths for name in twins}) == 1


def test_same_bytes_twice_and_from_another_place(library, tmp_path):
    convert(library, tmp_path / 'first')
    # The same files, written in another order.
    other = Library(tmp_path / 'other')
    for path in sorted(library.root.rglob('*'), reverse=True):
        target = other.root / path.relative_to(library.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() and path.is_file():
            target.symlink_to(path.resolve())
        elif path.is_symlink():
            target.symlink_to('nowhere.png')
        elif path.is_file():
            target.write_bytes(path.read_bytes())

    convert(other, tmp_path / 'second')
    assert content(tmp_path / 'first') == content(tmp_path / 'second')


def test_a_label_threshold_moves_no_picture_across(library, tmp_path):
    sides = []
    for count in (2, 25):
        convert(library, tmp_path / str(count), Plan(size=32, min_count=count))
        sides.append(
            {
                item['img_path']: side
                for side in ('train', 'test')
                for item in load_annotations(tmp_path / str(count) / f'{side}.json').data_list
            }
        )

    assert 0 < len(sides[1]) < len(sides[0])
    assert sides[1].items() <= sides[0].items()


def test_max_images(library, tmp_path):
    report = convert(library, tmp_path / 'out', Plan(size=64, min_count=10, max_images=30))
    assert report['chosen']['pictures'] == 30
    assert report['chosen']['over_max_images'] == 18


def render(path, size):
    return render_picture(decode(path)[0], size, path)


def test_blank_pictures_are_named(tmp_path):
    Image.new('RGBA', (60, 60), (0, 0, 0, 0)).save(tmp_path / 'blank.png')
    with pytest.raises(BlankPictureError, match=r'blank\.png: expected a picture'):
        render(tmp_path / 'blank.png', 50)


def test_images_lie_on_white_and_keep_their_shape(tmp_path):
    source = Image.new('RGBA', (200, 100), (0, 0, 0, 0))
    source.paste((255, 0, 0, 255), (0, 0, 100, 100))
    source.paste((0, 0, 255, 128), (100, 0, 200, 50))
    source.save(tmp_path / 'a.png')
    picture, mode = decode(tmp_path / 'a.png')
    flat = render_picture(picture, 50, tmp_path / 'a.png')
    assert (flat.size, flat.mode, mode) == ((50, 25), 'RGB', 'RGBA')
    assert flat.getpixel((5, 5)) == (255, 0, 0)
    assert flat.getpixel((45, 20)) == (255, 255, 255)
    # 255 * (1 - 128 / 255) = 127 in red and green
    assert flat.getpixel((45, 5)) == (127, 127, 255)


def test_no_dark_fringe_from_hidden_colours(tmp_path):
    source = Image.new('RGBA', (400, 40), (0, 0, 0, 0))  # black where nothing shows
    source.paste((255, 255, 0, 255), (0, 0, 199, 40))
    source.save(tmp_path / 'a.png')
    pixels = np.asarray(render(tmp_path / 'a.png', 40))
    assert pixels[..., :2].min() >= 253


def test_small_images_are_not_enlarged(tmp_path):
    noise(0, side=20).save(tmp_path / 'a.png')
    assert render(tmp_path / 'a.png', 64).size == (20, 20)


def test_size_is_known_without_decoding(tmp_path):
    header = b'\x89PNG\r\n\x1a\n' + (13).to_bytes(4, 'big') + b'IHDR'
    (tmp_path / 'bomb.png').write_bytes(
        header + (20990).to_bytes(4, 'big') + (29700).to_bytes(4, 'big')
    )
    assert png_size(tmp_path / 'bomb.png') == (20990, 29700)

    with pytest.raises(
        TooManyPixelsError,
        match=r'bomb\.png: expected at most 40000 pixels, but got 20990 x 29700',
    ):
        decode(tmp_path / 'bomb.png')


@pytest.mark.parametrize(
    ('prolog', 'error'),
    [
        (BILLION_LAUGHS, UnsafeSvgError),
        ('<!DOCTYPE svg [<!ENTITY % p "text">]>', UnsafeSvgError),
        ('<!DOCTYPE svg [<!ENTITY x SYSTEM "http://localhost/x">]>', UnsafeSvgError),
        (f'<!DOCTYPE svg [<!ENTITY x "{"x" * 257}">]>', UnsafeSvgError),
        ('<', MalformedSvgError),
    ],
)
def test_unsafe_and_malformed_svg(tmp_path, prolog, error):
    (tmp_path / 'a.svg').write_text(svg('bird', prolog=prolog))
    with pytest.raises(error, match=r'a\.svg: expected'):
        read_svg(tmp_path / 'a.svg')


def test_svg_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr('morn_plugin.datasets.converters.openclipart.svg.MAX_SVG_BYTES', 1000)
    (tmp_path / 'a.svgz').write_bytes(gzip.compress(svg('bird').encode() + b' ' * 10_000))
    with pytest.raises(UnsafeSvgError, match='at most 1000 bytes'):
        read_svg(tmp_path / 'a.svgz')


def test_cut_off_gzip(tmp_path):
    (tmp_path / 'a.svgz').write_bytes(gzip.compress(svg('bird').encode())[:-20])
    with pytest.raises(MalformedSvgError, match='expected a gzipped SVG'):
        read_svg(tmp_path / 'a.svgz')


def test_keywords_come_from_the_subject_alone(tmp_path):
    (tmp_path / 'a.svg').write_text(svg('bird', 'caf&#233;', 'r&amp;b'), encoding='utf-8')
    assert read_svg(tmp_path / 'a.svg').keywords == ('bird', 'café', 'r&b')


def test_no_alias_leads_to_an_alias_or_a_stop_keyword():
    assert not set(ALIASES.values()) & (set(ALIASES) | set(STOP_KEYWORDS))
    for keyword in [*ALIASES, *STOP_KEYWORDS, *MINI_CLASSES]:
        assert normalise(keyword) == keyword
    assert clean_keywords(MINI_CLASSES) == set(MINI_CLASSES)


def test_pictures_that_encoding_brings_together_do_not_cross():
    def entry(name, seed, in_train):
        return Entry(
            Picture(name, Path(name), name, frozenset()), set(), encoded(seed), in_train=in_train
        )

    def encoded(seed):
        noise(seed).save(buffer := io.BytesIO(), 'PNG')
        return buffer.getvalue()

    entries = [
        entry('a', 1, True),
        entry('b', 1, False),
        entry('c', 2, False),
        entry('d', 2, False),
    ]
    assert [e.picture.name for e in drop_crossing(entries)] == ['a', 'c', 'd']


def test_errors_name_what_to_do(library, tmp_path, capsys):
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'file').touch()
    source = str(library.root)
    assert run([str(tmp_path / 'full'), '--unpacked', source]) == 1
    assert 'already contains something' in capsys.readouterr().err
    assert run([str(tmp_path / 'out'), '--unpacked', str(tmp_path / 'full')]) == 1
    assert 'openclipart-png and openclipart-svg' in capsys.readouterr().err
    assert run([str(tmp_path / 'out'), '--unpacked', source, '--min-count', '900']) == 1
    assert 'Expected a keyword on at least 900 pictures' in capsys.readouterr().err
    assert run([str(tmp_path / 'out'), '--deb', str(tmp_path / 'no.deb')]) == 1
    assert 'no.deb: expected a package file' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
    with pytest.raises(SystemExit):
        run([str(tmp_path / 'out'), '--unpacked', source, '--size', '0'])
    assert '--size: expected a positive number' in capsys.readouterr().err


def test_missing_programs_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('PATH', str(tmp_path))
    assert run([str(tmp_path / 'out'), '--download']) == 1
    assert 'apt-get is missing' in capsys.readouterr().err
    (tmp_path / 'apt-get').write_text('#!/bin/sh\necho no such package >&2\nexit 100\n')
    (tmp_path / 'apt-get').chmod(0o755)
    assert run([str(tmp_path / 'out'), '--download']) == 1
    error = capsys.readouterr().err
    assert 'no such package' in error
    assert 'apt-get update' in error


def test_command_line_end_to_end(library, tmp_path, capsys):
    out = tmp_path / 'out'
    assert (
        run([str(out), '--unpacked', str(library.root), '--min-count', '10', '--size', '48']) == 0
    )
    report = json.loads((out / 'report.json').read_text())
    assert report['command'].endswith('openclipart.py OUT --download --size 48 --min-count 10')
    assert str(tmp_path) not in (out / 'report.json').read_text() + (out / 'README.md').read_text()
    assert 'It has 48 pictures with 3 labels' in capsys.readouterr().out

    for path in (out / 'images').rglob('*.png'):
        with Image.open(path) as image:
            assert image.mode == 'RGB'
            assert max(image.size) <= 48


# The committed slice.


@pytest.fixture(scope='module')
def mini():
    return {
        side: load_annotations(MINI / f'{side}.json')
        for side in ('train', 'test', 'train_fit', 'val')
    }


@pytest.fixture(scope='module')
def mini_hashes(mini):
    hashes = {}
    for item in mini['train'].data_list + mini['test'].data_list:
        with Image.open(MINI / item['img_path']) as image:
            assert image.mode == 'RGB'
            assert max(image.size) <= 128
            hashes[item['img_path']] = fingerprint(image)
    return hashes


def test_slice_is_whole(mini, mini_hashes):
    assert {path for path in content(MINI) if path.startswith('images/')} == set(mini_hashes)
    assert sum(len(data) for data in content(MINI).values()) <= 4_000_000
    for side in mini.values():
        assert side.classes == sorted(MINI_CLASSES)
        assert all(len(item['gt_label']) >= 2 for item in side.data_list)
    assert mini['train'].label_counts().min() >= 10
    assert mini['test'].label_counts().min() >= 3


def test_slice_sides_are_apart(mini, mini_hashes):
    paths = {side: [item['img_path'] for item in mini[side].data_list] for side in mini}
    everything = Counter(paths['train'] + paths['test'])
    assert set(everything.values()) == {1}
    assert Counter(paths['train_fit'] + paths['val']) == Counter(paths['train'])
    side = {path: name for name in ('train', 'test') for path in paths[name]}
    names = list(mini_hashes)
    pairs = near_duplicates(np.array([mini_hashes[name] for name in names])).tolist()
    assert len(pairs) > 50
    assert [(names[a], names[b]) for a, b in pairs if side[names[a]] != side[names[b]]] == []


def test_slice_readme_agrees(mini):
    text = (MINI / 'README.md').read_text()
    assert f'| train | {len(mini["train"])} |' in text
    assert f'| test | {len(mini["test"])} |' in text
    for index, name in enumerate(mini['train'].classes):
        train, test = (mini[side].label_counts()[index] for side in ('train', 'test'))
        assert f'| {name} | {train} | {test} |' in text
