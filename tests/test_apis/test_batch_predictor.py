"""The example for Ray Data: two workers, one of them killed in between, and nothing lost or doubled."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tools_helpers import ROOT, SLICE

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.apis.batch_predictor import BatchPredictor
from morn_plugin.deploy.images import list_images

# A worker that ends as if killed, once, in the middle of its work.
MORTAL = """
import os
from morn_plugin.apis.batch_predictor import BatchPredictor as Predictor

class Mortal(Predictor):
    def __call__(self, batch):
        if any(path.endswith({last!r}) for path in batch['img_path']):
            try:
                os.close(os.open('died', os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), 9)
        return super().__call__(batch)
"""


def check_record(record, expected):
    assert record['labels'] == expected['labels']
    scores = [expected['scores'][label] for label in expected['labels']]
    np.testing.assert_allclose(record['scores'], scores, atol=1e-4)


def test_a_table_gets_a_column_of_records(work_dir, tmp_path):
    paths = list_images(SLICE / 'images')[:5]
    (tmp_path / 'bad.png').write_bytes(b'')
    batch = dict(img_path=np.array([*paths, str(tmp_path / 'bad.png')]), other=np.arange(6))
    found = BatchPredictor(work_dir, device='cpu', batch_size=2)(batch)
    assert found['other'] is batch['other']
    *records, bad = map(json.loads, found['record'])
    expected = MultiLabelInferencer(work_dir, device='cpu')(paths)['predictions']
    for record, own in zip(records, expected, strict=True):
        check_record(record, own)

    assert 'is empty' in bad['error']

    contents = np.array([Path(path).read_bytes() for path in paths], dtype=object)
    found = BatchPredictor(work_dir, 'bytes', device='cpu')(dict(bytes=contents))
    assert [json.loads(text)['labels'] for text in found['record']] == [
        record['labels'] for record in expected
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_workers_of_ray_give_what_one_process_gives(work_dir, tmp_path):
    pytest.importorskip('ray')
    parquet = pytest.importorskip('pyarrow.parquet')
    paths = list_images(SLICE / 'images')[:10]
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'work_dirs').mkdir()
    (tmp_path / 'work_dirs' / 'morn').symlink_to(work_dir)
    for number, path in enumerate(paths):
        (tmp_path / 'photos' / f'{number}.webp').symlink_to(path)

    page = (ROOT / 'docs' / 'many_images.md').read_text(encoding='utf-8')
    (code,) = re.findall(r'```py\n(.*?)```', page, flags=re.S)
    for given, wanted in (
        ('    BatchPredictor,', '    Mortal,'),
        ('batch_size=64', 'batch_size=2'),
        ('from_items(paths)', 'from_items(paths, override_num_blocks=5)'),
        ("['work_dirs/morn']", f'[{str(work_dir)!r}]'),
        ("list_images('photos')", f'list_images({str(tmp_path / "photos")!r})'),
        ("write_parquet('labels')", f'write_parquet({str(tmp_path / "labels")!r})'),
    ):
        assert code.count(given) == 1
        code = code.replace(given, wanted)

    mark = MORTAL.format(last='5.webp').replace("'died'", repr(str(tmp_path / 'died')))
    done = subprocess.run(
        [sys.executable, '-c', f'{mark}\n{code}'],
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(ROOT), RAY_AUTH_MODE='disabled', OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert (tmp_path / 'died').exists()

    rows = parquet.read_table(tmp_path / 'labels').to_pylist()
    names = [f'{tmp_path}/photos/{number}.webp' for number in range(10)]
    assert sorted(row['img_path'] for row in rows) == names
    expected = MultiLabelInferencer(work_dir, device='cpu')(names)['predictions']
    for row in rows:
        check_record(json.loads(row['record']), expected[names.index(row['img_path'])])
