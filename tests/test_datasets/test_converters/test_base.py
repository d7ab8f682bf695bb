import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from morn_plugin.datasets.annotations import load_annotations
from morn_plugin.datasets.converters import Converter, Image, Parsed, Published, Split
from morn_plugin.datasets.converters.images import find_images
from morn_plugin.datasets.converters.path_separators import relative_path
from morn_plugin.datasets.converters.reading import read_lines
from morn_plugin.datasets.converters.report import check_split, rows_of

TOOLS = Path(__file__).parents[3] / 'tools' / 'dataset_converters'


def parse_list(args: argparse.Namespace) -> Parsed:
    """A data set as small as can be: `path label label ...` a line."""
    path = args.root / 'list.txt'
    images = []
    for number, line in enumerate(read_lines(path), 1):
        name, *labels = line.split()
        images.append(
            Image(
                relative_path(name, f'{path}:{number}'), tuple(map(int, labels)), f'{path}:{number}'
            )
        )

    return Parsed({'train': Split(['cat', 'dog'], images, Published(images=3, classes=2))})


LIST = Converter('A list.', parse_list)


@pytest.fixture
def root(tmp_path, put):
    put(tmp_path / 'root' / 'list.txt', 'Sub/A.jpg 0\nsub\\b.JPG 1\nc.jpg\n')
    for name in ('Sub/A.jpg', 'Sub/b.jpg', 'c.jpg'):
        put(tmp_path / 'root' / name)
    return tmp_path / 'root'


def paths(root):
    return [item['img_path'] for item in load_annotations(root / 'train.json').data_list]


def test_other_case_and_backslashes(root, convert):
    result = convert(LIST, root)
    assert result.status == 0, result.err
    assert paths(root) == ['Sub/A.jpg', 'Sub/b.jpg', 'c.jpg']
    assert '│ images found in other case │ 1 │' in result.out
    assert 'differs' not in result.out


def test_other_case_ambiguous(root, put, fails):
    put(root / 'Sub' / 'B.jpg')
    fails(
        LIST, root, parts=[f"{root / 'list.txt'}:2: 'sub/b.JPG' could be any of ['B.jpg', 'b.jpg']"]
    )


def test_exact_case_is_preferred(root, put):
    put(root / 'Sub' / 'B.jpg')
    assert find_images(root, [('Sub/b.jpg', ''), ('Sub/B.jpg', '')], '') == [
        'Sub/b.jpg',
        'Sub/B.jpg',
    ]
    put(root / 'sub' / 'd.jpg')
    assert find_images(root, [('Sub/a.jpg', ''), ('sub/a.jpg', '')], '') == ['Sub/A.jpg', None]


@pytest.mark.parametrize('gone', ['unlinked', 'empty', 'folder'])
def test_missing(root, convert, fails, gone):
    (root / 'train.json').write_text('as before')
    (root / 'Sub' / 'b.jpg').unlink()
    if gone == 'empty':
        (root / 'Sub' / 'b.jpg').touch()
    if gone == 'folder':
        (root / 'Sub' / 'b.jpg').mkdir()
    missing = root / 'missing_train.txt'
    fails(
        LIST,
        root,
        parts=[
            f"{root / 'list.txt'}:2: 'sub/b.JPG' is the first of 1",
            f'{missing} (1 of 3)',
            '--allow-missing',
        ],
    )
    assert missing.read_text() == 'sub/b.JPG\n'
    assert (root / 'train.json').read_text() == 'as before'
    assert convert(LIST, root, '--allow-missing').status == 1
    assert (root / 'train.json').read_text() == 'as before'
    result = convert(LIST, root, '--allow-missing', '--overwrite')
    assert result.status == 0
    assert paths(root) == ['Sub/A.jpg', 'c.jpg']
    assert '│ images │ 3 │ 3 │ │' in result.out
    assert '│ images not found │ 1 │' in result.out
    assert '│ images kept │ 2 │ 3 │ differs │' in result.out
    assert missing.read_text() == 'sub/b.JPG\n'


def test_list_of_missing_goes_when_all_are_found(root, put, convert):
    put(root / 'missing_train.txt', 'Sub/b.jpg\n')
    assert convert(LIST, root).status == 0
    assert not (root / 'missing_train.txt').exists()


def test_all_missing(root, put, fails):
    put(root / 'list.txt', 'x.jpg 0\ny.jpg 1\n')
    fails(LIST, root, '--allow-missing', parts=['train: no images are left to write'])


def test_repeats(root, put, convert, fails):
    put(root / 'list.txt', 'Sub/A.jpg 0\nc.jpg 1\n./sub/a.jpg 0\n')
    line = f"{root / 'list.txt'}:3: 'Sub/A.jpg' is listed already at {root / 'list.txt'}:1."
    fails(LIST, root, parts=[line, '--allow-repeats'])
    result = convert(LIST, root, '--allow-repeats')
    assert result.status == 0, result.err
    assert paths(root) == ['Sub/A.jpg', 'c.jpg']
    assert '│ images listed again │ 1 │' in result.out
    assert '│ images │ 2 │ 3 │ differs │' in result.out
    put(root / 'list.txt', 'Sub/A.jpg 0\nc.jpg 1\nSub/A.jpg 1\n')
    fails(LIST, root, '--allow-repeats', parts=[line, 'The labels differ'])


def test_many_repeats_are_counted(root, put, fails):
    put(root / 'list.txt', 'c.jpg 1\n' * 6)
    fails(LIST, root, parts=['list.txt:2:', 'list.txt:3:', 'list.txt:4:', '... 5 in all.'])


@pytest.mark.parametrize('kind', ['file', 'folder'])
def test_links_out_of_the_root(root, put, convert, fails, kind):
    outside = put(root.parent / 'outside' / 'c.jpg')
    if kind == 'file':
        (root / 'c.jpg').unlink()
        (root / 'c.jpg').symlink_to(outside)
    else:
        (root / 'away').symlink_to(outside.parent, target_is_directory=True)
        put(root / 'list.txt', 'Sub/A.jpg 0\nSub/b.jpg\naway/c.jpg 1\n')

    fails(
        LIST,
        root,
        parts=[f'{root / "list.txt"}:3:', f'is a link to {outside.parent}', '--follow-links'],
    )
    assert convert(LIST, root, '--follow-links').status == 0


def test_links_within_the_root_and_to_it(root, convert):
    (root / 'c.jpg').unlink()
    (root / 'c.jpg').symlink_to('Sub/A.jpg')
    link = root.parent / 'link'
    link.symlink_to(root, target_is_directory=True)
    assert convert(LIST, link).status == 0


@pytest.mark.parametrize(
    'text',
    [
        '/a.jpg',
        '\\a.jpg',
        'C:\\a.jpg',
        'c:a.jpg',
        '\\\\host\\share\\a.jpg',
        '..',
        'a/../b.jpg',
        'a\\..\\b.jpg',
        '',
        '.',
        'a\0.jpg',
    ],
)
def test_paths_refused(text):
    with pytest.raises(ValueError, match=r'^list\.txt:7: expected a path below the image folder'):
        relative_path(text, 'list.txt:7')


@pytest.mark.parametrize(
    ('text', 'path'), [('./a//b.jpg', 'a/b.jpg'), ('a\\b.jpg', 'a/b.jpg'), ('a..b.jpg', 'a..b.jpg')]
)
def test_paths_accepted(text, path):
    assert relative_path(text, '') == path


def test_counts(tmp_path, put):
    images = [
        Image('a', (0, 2), ''),
        Image('b', (), ''),
        Image('c', (2,), '', (1,)),
        Image('d', (0, 2), ''),
    ]
    for image in images[:3]:
        put(tmp_path / image.img_path)

    checked = check_split('train', Split(['x', 'y', 'z', 'w'], images), tmp_path, 1, False, False)
    counts = {row.name: row.found for row in rows_of(checked, drop_unlabelled=True)}
    assert counts == {
        'images': '4',
        'classes': '4',
        'images without a label': '1',
        'labels': '5',
        'labels a picture, mean': '1.25',
        'labels a picture, most': '2',
        'labels left out as difficult': '1',
        'classes without an image': '2',
        'images listed again': '0',
        'images found in other case': '0',
        'images not found': '1',
        'images kept': '2',
    }


def test_published_counts_that_agree_do_not_differ(tmp_path):
    published = Published(images=3, classes=2, unlabelled=1, mean=0.67, most=1)
    images = [Image('a', (0,), ''), Image('b', (), ''), Image('c', (1,), '')]
    checked = check_split('train', Split(['x', 'y'], images, published), tmp_path, 1, False, False)
    assert [row.name for row in rows_of(checked, drop_unlabelled=False) if row.differs] == [
        'images kept'
    ]


def test_root_that_is_not_there(tmp_path, fails):
    fails(LIST, tmp_path / 'none', parts=['none is not a directory'])


def test_workers_must_be_positive(root, convert):
    with pytest.raises(SystemExit):
        convert(LIST, root, '--workers', 0)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['coco', 'corel5k', 'nuswide', 'voc', 'tags'])
def test_tools_start(name):
    environment = dict(os.environ, PYTHONPATH=str(TOOLS.parents[1]))
    command = [sys.executable, str(TOOLS / f'{name}.py')]
    shown = subprocess.run(
        [*command, '--help'], env=environment, capture_output=True, text=True, check=True
    )
    assert '--allow-missing' in shown.stdout
    more = ['tags.csv', 'out'] if name == 'tags' else []
    failed = subprocess.run(
        [*command, 'nowhere', *more], env=environment, capture_output=True, text=True
    )
    assert failed.returncode == 1
    assert failed.stderr == 'error: nowhere is not a directory.\n'
