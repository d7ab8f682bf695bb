"""Ways of predicting are timed in alternating rounds, and compared within each."""

import subprocess
import time
from types import SimpleNamespace

import pytest
from tools_helpers import SLICE

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.datasets.cached import load_scores
from morn_plugin.deploy.images import list_images
from morn_plugin.models import onnx_network
from morn_plugin.speed import prediction
from morn_plugin.speed.prediction import (
    Timing,
    compare_extraction,
    compare_prediction,
    time_in_turn,
    time_start,
)


def test_ways_take_turns_after_one_that_does_not_count(monkeypatch):
    clock, runs = iter(range(100)), []
    monkeypatch.setattr(prediction.time, 'perf_counter', lambda: next(clock))
    ways = {name: lambda name=name: runs.append(name) for name in 'ab'}
    timings = time_in_turn(ways, 2)
    assert ''.join(runs) == 'ababab'
    assert timings == [Timing('a', [1, 1]), Timing('b', [1, 1])]


def test_a_ratio_is_the_median_over_pairs():
    assert Timing('a', [2.0, 9.0, 4.0]).ratio(Timing('b', [1.0, 3.0, 4.0])) == 2
    assert Timing('a', [2.0, 9.0, 4.0]).median == 4


@pytest.fixture
def soon(monkeypatch):
    """Let ONNX Runtime take over after a few images."""
    for module in (prediction, onnx_network):
        monkeypatch.setattr(module, 'AFTER', 4)


def test_a_checkpoint_is_compared_with_what_was_exported_from_it(work_dir, soon):
    inferencer = MultiLabelInferencer(work_dir, device='cpu')
    paths = list_images(SLICE / 'images')[:3]
    shapes = []
    exported = SimpleNamespace(
        predict=lambda images, batch_size: inferencer.predict(images, batch_size),
        run=lambda images: shapes.append(images.shape),
    )
    start = time.perf_counter()
    timings = compare_prediction(inferencer, exported, paths, 2, 1)
    assert shapes == 2 * [(2, 3, 32, 32), (1, 3, 32, 32)]
    assert len(timings) == 6
    assert inferencer._network[1].backbone._found is not None
    assert all(timing.median > 0 for timing in timings)
    assert sum(timing.median for timing in timings) < time.perf_counter() - start


def test_extraction_is_compared_with_its_parts(work_dir, monkeypatch, soon):
    inferencer = MultiLabelInferencer(work_dir, device='cpu')
    paths = list_images(SLICE / 'images')[:3]
    files, extract = [], prediction.extract_images

    def extract_and_look(inferencer, stream, out, inputs, *others):
        extract(inferencer, stream, out, inputs, *others)
        found = load_scores(out)
        files.append((len(found.scores), sorted(found.inputs)))

    monkeypatch.setattr(prediction, 'extract_images', extract_and_look)
    timings = compare_extraction(inferencer, paths, 2, 1)
    assert files == 2 * [(3, ['features', 'logits'])]
    assert [timing.name for timing in timings] == [
        'extraction from files',
        'reading and the network',
        'the network as used, alone',
        "the model's forward, alone",
    ]
    assert all(timing.median > 0 for timing in timings)


def test_a_start_is_timed_with_the_bytecode_of_an_earlier_one(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONDONTWRITEBYTECODE', '1')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    (tmp_path / 'part.py').write_text('')
    log = tmp_path / 'log'
    code = f"""
import importlib.util, os
found = os.path.exists(importlib.util.cache_from_source({str(tmp_path / 'part.py')!r}))
import part
open({str(log)!r}, 'a').write(str(int(found)))
"""
    assert len(time_start(['-c', code], 2)) == 2
    assert log.read_text() == '011'


def test_a_start_ends_with_the_first_line():
    (seconds,) = time_start(['-c', 'import time; print(); time.sleep(2); print()'], 1)
    assert 0 < seconds < 2


def test_a_program_that_fails_has_no_time():
    with pytest.raises(subprocess.CalledProcessError):
        time_start(['-c', 'raise SystemExit(3)'], 1)
