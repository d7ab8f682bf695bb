"""Streams of images: folders, lists and tar files, in shares, and nothing outside of them."""

import io
import os
import tarfile

import numpy as np
import picture_files as make
import pytest

from morn_plugin.deploy.image_formats import ImageError
from morn_plugin.deploy.image_streams import ImageStream, check_list, read_tar
from morn_plugin.deploy.images import list_images
from morn_plugin.deploy.shards import Shard, find_shards, take_in_turn
from morn_plugin.deploy.sources import iter_sources, name_source, read_memory

PIXELS = np.asarray(make.gradient())
CONTENT = make.encode(make.gradient(), 'PNG')


def names(stream):
    return [name_source(source) for source in stream]


def write_tar(path, members):
    """Members are bytes, or how a TarInfo is changed."""
    with tarfile.open(path, 'w') as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                for key, value in content.items():
                    setattr(info, key, value)
                archive.addfile(info)

    return path


@pytest.fixture
def tree(tmp_path):
    for name in ('b.png', 'a/2.png', 'a/1.png', 'a/deep/0.png', 'a.png', 'c/x.svg'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(CONTENT)
    return tmp_path


@pytest.mark.filterwarnings('ignore:Folder .* pictures of other kinds')
def test_a_folder_is_walked_in_the_order_of_all_paths(tree, monkeypatch):
    expected = [str(path) for path in sorted(tree.rglob('*.png'))]
    assert names(ImageStream([tree])) == expected == list_images(tree)
    assert ImageStream([tree]).count() == 5
    monkeypatch.chdir(tree)
    assert names(ImageStream(['.'])) == [os.path.relpath(path, tree) for path in expected]
    twice = ImageStream(['a.png', '.', 'b.png', 'a/*.png', 'a.png'])
    assert sorted(names(twice)) == sorted(os.path.relpath(path, tree) for path in expected)
    assert names(twice)[0] == 'a.png'


def test_a_folder_is_looked_at_as_its_images_are_asked_for(tree, monkeypatch):
    looked_at = []
    listdir = os.listdir
    monkeypatch.setattr(os, 'listdir', lambda path: looked_at.append(path) or listdir(path))
    assert os.path.basename(next(iter(ImageStream([tree])))) == '1.png'
    assert [os.path.relpath(path, tree) for path in looked_at] == ['.', 'a']


def test_links_of_folders_are_not_followed(tree):
    (tree / 'a' / 'up').symlink_to(tree)
    assert len(names(ImageStream([tree / 'a']))) == 3


@pytest.mark.parametrize('total', [1, 2, 3, 7])
def test_shards_in_turn_are_the_whole(tree, total):
    whole = names(ImageStream([tree / 'a', tree / 'b.png']))
    shards = [
        ImageStream([tree / 'a', tree / 'b.png'], shard=Shard(number, total))
        for number in range(1, total + 1)
    ]
    assert list(take_in_turn([iter(names(shard)) for shard in shards], [])) == whole
    assert [shard.count() for shard in shards] == [len(names(shard)) for shard in shards]


def test_a_shard_that_has_not_its_share_is_named():
    parts = lambda *texts: list(map(iter, texts))
    for texts in (('ace', 'b'), ('a', 'bdf'), ('ac', 'bde', 'f')):
        with pytest.raises(ValueError, match='has more images than its share'):
            list(take_in_turn(parts(*texts), list('123')))


def test_shards_are_found_or_named(tmp_path):
    for number in (1, 3):
        (tmp_path / f'o-{number}-of-3.csv').touch()

    with pytest.raises(FileNotFoundError, match=r'1 of 3 shards are missing: .*o-2-of-3\.csv'):
        find_shards(tmp_path / 'o.csv')
    (tmp_path / 'o-2-of-3.csv').touch()
    assert [path.name for path in find_shards(tmp_path / 'o.csv')] == [
        f'o-{number}-of-3.csv' for number in (1, 2, 3)
    ]
    (tmp_path / 'o-1-of-4.csv').touch()
    with pytest.raises(ValueError, match=r'of one division, but found those of \[3, 4\]'):
        find_shards(tmp_path / 'o.csv')
    with pytest.raises(FileNotFoundError, match=r'such as .*p-1-of-8\.csv'):
        find_shards(tmp_path / 'p.csv')


def test_a_list_names_files_below_its_folder_and_urls(tree):
    path = tree / 'a' / 'list.txt'
    path.write_text('\ufeff1.png\r\n\n  \ndeep/0.png\nhttps://example.org/x.png\n', 'utf-8')
    stream = ImageStream(lists=[path])
    folder = f'{tree / "a"}/'
    expected = [f'{folder}1.png', f'{folder}deep/0.png', 'https://example.org/x.png']
    assert names(stream) == expected
    assert stream.count() == 3


def test_a_list_leads_nowhere_else_unless_it_is_trusted(tree):
    path = tree / 'a' / 'list.txt'
    path.write_text(f'1.png\n../b.png\n{tree}/b.png\nfile:///etc/passwd\n')
    with pytest.raises(ValueError, match='3 of 4 images are refused') as error:
        ImageStream(lists=[path])
    for line in (
        r"'../b.png' lies outside",
        f"'{tree}/b.png' lies",
        "passwd' is a URL whose scheme is not",
    ):
        assert line in str(error.value)

    path.write_text(f'../b.png\n{tree}/b.png\n')
    assert len(names(ImageStream(lists=[path], trust_lists=True))) == 2

    (tree / 'a' / 'link.png').symlink_to(tree / 'b.png')
    (tree / 'a' / 'up').symlink_to(tree)
    (tree / 'a' / 'same').symlink_to(tree / 'a' / 'deep')
    path.write_text('link.png\nup/b.png\n1.png\nsame/0.png\nup/a/1.png\n')
    *broken, first, second, third = ImageStream(lists=[path])
    assert len(broken) == 2

    for image in broken:
        with pytest.raises(ImageError, match='a link that leads out of the folder of its list'):
            image.read()

    folder = f'{tree / "a"}/'
    assert [first, second, third] == [
        f'{folder}{name}' for name in ('1.png', 'same/0.png', 'up/a/1.png')
    ]


def test_a_list_of_another_kind_is_named(tmp_path):
    (tmp_path / 'empty').write_text('\n')
    (tmp_path / 'long').write_text('x' * 20_000)
    (tmp_path / 'zero').write_bytes(b'a\0.png\n')

    for name, message in (
        ('empty', 'it has none'),
        ('long', 'lines of at most'),
        ('zero', 'has a zero byte'),
    ):
        with pytest.raises(ValueError, match=message):
            check_list(str(tmp_path / name))

    with pytest.raises(FileNotFoundError, match=r'List .*none does not exist'):
        check_list(str(tmp_path / 'none'))


def test_a_tar_file_gives_the_members_that_are_images(tmp_path):
    members = [('1.png', CONTENT), ('1.cls', b'3'), ('1.json', b'{}'), ('deep/2.PNG', CONTENT)]
    path = write_tar(tmp_path / 'x.tar', members)
    images = list(ImageStream([tmp_path / '*.tar']))
    assert names(images) == [f'{path}/1.png', f'{path}/deep/2.PNG']
    assert list(iter_sources(iter(images))) == images
    assert all(np.array_equal(read_memory(image), PIXELS) for image in images)
    assert ImageStream([path]).count() is None


def test_a_tar_file_of_a_stranger_leads_nowhere(tmp_path):
    link = dict(type=tarfile.SYMTYPE, linkname='/etc/passwd')
    members = [
        ('../up.png', CONTENT),
        ('link.png', link),
        ('pipe.png', dict(type=tarfile.FIFOTYPE)),
    ]
    path = write_tar(tmp_path / 'x.tar', [*members, ('good.png', CONTENT)])
    *broken, good = read_tar(str(path))

    for image, reason in zip(
        broken, ('leads out of', 'not a regular file', 'not a regular'), strict=True
    ):
        with pytest.raises(ImageError, match=reason):
            image.read()

    assert good.read() == CONTENT
    with pytest.raises(ValueError, match='not compressed'):
        list(ImageStream([tmp_path / 'x.tar.gz']))


def test_where_a_tar_file_is_damaged_is_an_image_that_cannot_be_read(tmp_path):
    path = write_tar(tmp_path / 'x.tar', [(f'{i}.png', CONTENT) for i in range(4)])
    whole = path.read_bytes()
    size = len(whole[: whole.index(b'1.png')])

    path.write_bytes(whole[: size + 512 + 10])  # in the middle of the second image
    first, second, *rest = read_tar(str(path))
    assert first.read() == CONTENT
    with pytest.raises(ImageError, match=r'1\.png is cut off: expected \d+ bytes'):
        second.read()
    for image in rest:
        with pytest.raises(ImageError, match='cannot be read further as a tar file'):
            image.read()

    damaged = bytearray(whole)
    damaged[size + 100 : size + 160] = b'x' * 60  # the header of the second image
    path.write_bytes(damaged)
    first, end = read_tar(str(path))
    assert first.read() == CONTENT
    with pytest.raises(ImageError, match=r'the header at byte .* is damaged'):
        end.read()

    path.write_bytes(b'no tar file at all, ' * 100)
    (only,) = read_tar(str(path))
    with pytest.raises(ImageError, match=r'x\.tar cannot be read further as a tar file'):
        only.read()


def test_a_tar_file_with_a_huge_name_takes_no_memory(tmp_path):
    header = tarfile.TarInfo('././@LongLink')
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = 5_000_000_000
    path = tmp_path / 'x.tar'
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 6_000_000_000)  # a file of holes
    (only,) = read_tar(str(path))
    with pytest.raises(ImageError, match=r'a header has 50.* bytes: expected at most'):
        only.read()
