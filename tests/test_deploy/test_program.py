"""The metadata of a program, read without loading it."""

import json
import zipfile

import pytest
from test_utils.test_schemas import VALID

from morn_plugin.deploy.program import read_program_metadata
from morn_plugin.utils.schemas import ExportMetadata

METADATA = VALID[ExportMetadata]
NAME = 'm/extra/morn_plugin.json'


def write(path, records, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return path


def test_what_was_written_is_read(tmp_path):
    torch = pytest.importorskip('torch')
    module = torch.nn.Linear(2, 2)
    program = torch.export.export(module, (torch.zeros(1, 2),))
    extra = {'morn_plugin.json': json.dumps(METADATA)}
    torch.export.save(program, tmp_path / 'm.pt2', extra_files=extra)
    found = read_program_metadata(tmp_path / 'm.pt2')
    assert found == {name: METADATA[name] for name in found}
    assert found.keys() == {'classes', 'preprocessing', 'thr', 'topk'}


@pytest.mark.parametrize(
    ('records', 'reason'),
    [
        ({}, 'has 0'),
        ({'m/model.json': '{}'}, 'has 0'),
        ({NAME: '{}', 'n/extra/morn_plugin.json': '{}'}, 'has 2'),
        ({NAME: b'\xff'}, 'not UTF-8'),
        ({NAME: '{'}, 'expected JSON'),
        ({NAME: '[' * 100_000}, 'nested too deeply'),
        ({NAME: '{"thr": NaN}'}, 'contains NaN'),
        ({NAME: '{}'}, '`classes`: expected a value'),
        ({NAME: json.dumps(METADATA | dict(thr='0.5'))}, '`thr`'),
    ],
)
def test_what_is_wrong_is_named(records, reason, tmp_path):
    path = write(tmp_path / 'm.pt2', records)
    with pytest.raises(ValueError, match=reason) as caught:
        read_program_metadata(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize('content', [b'', b'garbage', b'PK\x03\x04' + bytes(100)])
def test_what_is_no_archive_is_named(content, tmp_path):
    path = tmp_path / 'm.pt2'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'm\.pt2: expected a torch\.export program'):
        read_program_metadata(path)
    with pytest.raises(FileNotFoundError):
        read_program_metadata(tmp_path / 'none.pt2')


def test_a_bomb_is_not_unpacked(tmp_path):
    path = write(tmp_path / 'm.pt2', {NAME: bytes(100_000_000)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    with pytest.raises(ValueError, match='not compressed'):
        read_program_metadata(path)
