"""Files of records: written, torn, gone on with, put together from shards."""

import csv
import json

import numpy as np
import pytest

from morn_plugin.deploy.record_files import COLUMNS, ParquetRecords, record_file
from morn_plugin.deploy.recording import Outcome, begin, merge_records, write_records
from morn_plugin.deploy.run_notes import RunNote, load_note, note_path
from morn_plugin.deploy.shards import Shard

KINDS = ['.jsonl', '.csv', '.parquet']
SETTINGS = dict(model='0a', thr=None)


def record(path):
    if 'bad' in path:
        return dict(img_path=path, error=f'Image {path} is "torn",\nand more')

    return dict(
        img_path=path,
        labels=[1, 0],
        names=['=1+1', 'dog\n"big"'],
        scores=[0.25, 0.75],
        step_scores=[[0.5, 0.25]],
        path=[1],
        path_names=['dog'],
    )


PATHS = ['a.jpg', 'bad.jpg', '=cmd.jpg', 'ü,"\n.jpg', '\udcff.jpg', 'f.jpg', 'g.jpg']


def run(out, paths, resume=False, settings=SETTINGS, shard=None, fail_after=None):
    """Predict as the tool does, and give what was predicted now."""
    shard = shard or Shard()
    sources = shard.take(paths)
    seen = []
    file = record_file(shard.path(out))
    note = RunNote(settings, str(shard))
    outcome = begin(file, note, resume, sources)

    def predicted():
        for path in sources:
            if fail_after == len(seen):
                raise KeyboardInterrupt
            seen.append(path)
            yield record(path)

    try:
        with file:
            write_records(predicted(), file.write, outcome, all_scores=True)
    except KeyboardInterrupt:
        return seen

    note.images = outcome.images
    note.save(file.path)
    return seen


def content(out):
    if out.suffix == '.parquet':
        return list(record_file(out).records())
    return out.read_bytes()


@pytest.fixture(params=KINDS)
def out(request, tmp_path):
    if request.param == '.parquet':
        pytest.importorskip('pyarrow')
    return tmp_path / f'o{request.param}'


def test_all_kinds_say_the_same(tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    for kind in KINDS:
        run(tmp_path / f'o{kind}', PATHS)

    lines = [json.loads(line) for line in (tmp_path / 'o.jsonl').read_bytes().splitlines()]
    assert lines == [record(path) for path in PATHS]

    with open(tmp_path / 'o.csv', newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [row['img_path'] for row in rows] == [
        *PATHS[:2],
        "'=cmd.jpg",
        PATHS[3],
        '\\udcff.jpg',
        *PATHS[5:],
    ]
    assert rows[0]['names'] == '\'=1+1;dog\n"big"'
    assert rows[0]['scores'] == '0.25;0.75'
    assert rows[1]['error'] == record('bad.jpg')['error']

    table = parquet.read_table(tmp_path / 'o.parquet').to_pylist()
    assert [row['img_path'] for row in table] == [*PATHS[:4], '\\udcff.jpg', *PATHS[5:]]
    for row, path in zip(table, PATHS, strict=True):
        expected = record(path)
        assert row['names'] == expected.get('names')
        assert row['error'] == expected.get('error')
        assert row['step_scores'] == expected.get('step_scores')


@pytest.mark.parametrize('done', [0, 1, 2, 5, 7])
def test_what_is_there_is_not_predicted_again(out, done, tmp_path):
    run(tmp_path / f'whole{out.suffix}', PATHS)
    assert run(out, PATHS, fail_after=done) == PATHS[:done]
    assert load_note(out).images == (7 if done == 7 else None)
    assert run(out, PATHS, resume=True) == PATHS[done:]
    assert content(out) == content(tmp_path / f'whole{out.suffix}')
    assert load_note(out).images == 7
    assert run(out, PATHS, resume=True) == []
    assert content(out) == content(tmp_path / f'whole{out.suffix}')


@pytest.mark.parametrize('kind', KINDS[:2])
def test_a_torn_record_is_written_anew(kind, tmp_path, capsys):
    out = tmp_path / f'o{kind}'
    run(out, PATHS)
    whole = out.read_bytes()
    start = whole.rindex(b'f.jpg')  # in the last record but one

    for end in (*range(start, len(whole), 23), len(whole) - 1, 3, 0):
        out.write_bytes(whole[:end])
        RunNote(SETTINGS).save(out)
        again = run(out, PATHS, resume=True)
        assert again
        assert again == PATHS[len(PATHS) - len(again) :]
        assert out.read_bytes() == whole

    assert 'the last record was incomplete' in capsys.readouterr().err


def test_zeros_that_a_power_cut_leaves_are_a_torn_record(tmp_path):
    out = tmp_path / 'o.jsonl'
    run(out, PATHS)
    whole = out.read_bytes()
    out.write_bytes(whole + bytes(400))
    assert run(out, PATHS, resume=True) == []
    assert out.read_bytes() == whole


def test_damage_in_the_middle_is_named(tmp_path):
    out = tmp_path / 'o.jsonl'
    run(out, PATHS)
    lines = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(b''.join([lines[0], b'{"img\n', *lines[2:]]))
    with pytest.raises(ValueError, match=rf'the record at byte {len(lines[0])} is none'):
        run(out, PATHS, resume=True)
    (tmp_path / 'o.csv').write_text('name,score\n')
    RunNote(SETTINGS).save(tmp_path / 'o.csv')
    with pytest.raises(ValueError, match='expected the columns img_path'):
        run(tmp_path / 'o.csv', PATHS, resume=True)


def test_a_run_goes_on_with_its_own_only(out):
    run(out, PATHS[:3])
    before = content(out)
    with pytest.raises(
        ValueError, match=r'o.* was made with different settings(.|\n)*- thr: None there, 0.5 here'
    ):
        run(out, PATHS, resume=True, settings=dict(SETTINGS, thr=0.5))

    with pytest.raises(ValueError, match=r'record 2 is of bad\.jpg, but that image is now g\.jpg'):
        run(out, [PATHS[0], 'g.jpg', *PATHS[2:]], resume=True)
    with pytest.raises(ValueError, match=r'record 2 is of bad\.jpg, but that image is now None'):
        run(out, PATHS[:1], resume=True)
    note_path(out).unlink()
    with pytest.raises(FileNotFoundError, match=r'nothing says how .* was made'):
        run(out, PATHS, resume=True)
    assert content(out) == before
    assert run(out, PATHS[:1]) == PATHS[:1]
    assert len(list(record_file(out).records())) == 1


@pytest.mark.parametrize('total', [2, 3, 9])
def test_merged_shards_are_what_one_process_writes(out, total, tmp_path):
    run(tmp_path / f'whole{out.suffix}', PATHS)
    for number in range(1, total + 1):
        run(out, PATHS, shard=Shard(number, total))
    assert merge_records(out) == Outcome(7, 1)
    assert content(out) == content(tmp_path / f'whole{out.suffix}')
    assert merge_records(out) == Outcome(7, 1)
    assert load_note(out).images == 7
    assert not list(tmp_path.glob('.merging*'))


def test_shards_that_do_not_fit_are_not_merged(tmp_path):
    out = tmp_path / 'o.jsonl'
    run(out, PATHS, shard=Shard(1, 2))
    run(out, PATHS, shard=Shard(2, 2), fail_after=2)
    with pytest.raises(ValueError, match=r'1 of 2 shards are not finished: .*o-2-of-2\.jsonl'):
        merge_records(out)
    run(out, PATHS, shard=Shard(2, 2), settings=dict(SETTINGS, thr=0.5))
    with pytest.raises(ValueError, match=r'o-2-of-2\.jsonl was made with different settings'):
        merge_records(out)
    run(out, PATHS, shard=Shard(2, 2))
    torn = tmp_path / 'o-1-of-2.jsonl'
    torn.write_bytes(torn.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r'Expected 7 records, .* 6 whole ones.*o-1-of-2\.jsonl'):
        merge_records(out)
    assert not out.exists()


def test_parquet_is_written_in_parts_of_groups(tmp_path, monkeypatch):
    parquet = pytest.importorskip('pyarrow.parquet')
    monkeypatch.setattr('morn_plugin.deploy.record_files.ROWS_A_GROUP', 2)
    file = ParquetRecords(tmp_path / 'o.parquet', rows=5)
    file.start()
    for number in range(7):
        file.write(dict(img_path=f'{number}.jpg', scores=[number / 8]))

    (part,) = (tmp_path / 'o.parquet').glob('part-*')  # the rest is not whole yet
    assert parquet.ParquetFile(part).metadata.num_row_groups == 3
    file.close()
    again = ParquetRecords(tmp_path / 'o.parquet', rows=5)
    assert [row['img_path'] for row in again.records()] == [f'{i}.jpg' for i in range(7)]
    scores = parquet.read_table(tmp_path / 'o.parquet')['scores'].to_pylist()
    assert np.ravel(scores).tolist() == [number / 8 for number in range(7)]
    (tmp_path / 'p.parquet').touch()
    with pytest.raises(ValueError, match='expected a folder of Parquet files'):
        ParquetRecords(tmp_path / 'p.parquet').start()


def test_parquet_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__('sys').modules, 'pyarrow', None)
    with pytest.raises(ImportError, match=r"pip install 'morn-plugin\[parquet\]'"):
        record_file(tmp_path / 'o.parquet')


def test_a_note_is_checked(tmp_path):
    out = tmp_path / 'o.jsonl'
    for text, message in (
        ('{"settings": 5, "shard": "1/1", "images": null, "failed": []}', '`settings`: expected'),
        ('{', 'expected JSON'),
        ('{"settings": {}, "shard": "1/1", "images": -1, "failed": []}', '`images`: expected'),
    ):
        note_path(out).write_text(text)
        with pytest.raises(ValueError, match=rf'o\.jsonl\.run\.json.*{message}'):
            load_note(out)
