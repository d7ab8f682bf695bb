"""Prediction of many images: in shares, interrupted, from lists and tar files, in constant memory."""

import io
import itertools
import json
import tarfile
import tracemalloc

import numpy as np
import pytest
from tools_helpers import SLICE, run_in_process

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.deploy.image_streams import ImageStream
from morn_plugin.deploy.labels import make_record
from morn_plugin.deploy.record_files import record_file
from morn_plugin.deploy.recording import begin, write_records
from morn_plugin.deploy.run_notes import RunNote
from morn_plugin.deploy.running import read_ahead, run_batches

IMAGES = [
    SLICE / item['img_path']
    for item in json.loads((SLICE / 'test.json').read_text())['data_list'][:7]
]


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def inputs(tmp_path):
    """A list of three images, one of them damaged, and a tar file of the other four."""
    folder = tmp_path / 'in'
    folder.mkdir()
    for image in IMAGES[:3]:
        (folder / image.name).write_bytes(image.read_bytes())

    (folder / IMAGES[1].name).write_bytes(IMAGES[1].read_bytes()[:-200])
    (folder / 'list.txt').write_text(''.join(f'{image.name}\n' for image in IMAGES[:3]))
    with tarfile.open(folder / 'rest.tar', 'w') as archive:
        for image in IMAGES[3:]:
            info = tarfile.TarInfo(image.name)
            info.size = image.stat().st_size
            archive.addfile(info, io.BytesIO(image.read_bytes()))

    return [folder / 'rest.tar', '--list', folder / 'list.txt', '--batch-size', 2]


def test_shards_and_an_interruption_give_what_one_run_gives(
    work_dir, inputs, tmp_path, monkeypatch, capfd
):
    def run(*args):
        """Run the tool, and give what it ends with, nothing if all is well."""
        try:
            run_in_process(monkeypatch, capfd, 'predict.py', *args)
        except SystemExit as end:
            return str(end)
        return None

    predict = ['--device', 'cpu', work_dir, *inputs, '--out']
    out = tmp_path / 'one.jsonl'
    assert run(*predict, out) == '1 of 7 images could not be read.'
    whole = read_lines(out)
    tar = str(inputs[0])
    assert [line['img_path'] for line in whole] == [
        *(f'{tar}/{image.name}' for image in IMAGES[3:]),
        *(str(tmp_path / 'in' / image.name) for image in IMAGES[:3]),
    ]
    assert [place for place, line in enumerate(whole) if 'error' in line] == [5]
    assert 'cannot be decoded' in whole[5]['error']
    alone = MultiLabelInferencer(work_dir, device='cpu')(str(IMAGES[3]))['predictions'][0]
    assert whole[0]['labels'] == alone['labels']

    two = [*predict, tmp_path / 'two.jsonl', '--shard']
    assert run(*two, '1/2') is None
    assert run(*two, '2/2') == '1 of 3 images could not be read.'
    run_in_process(monkeypatch, capfd, 'merge_shards.py', tmp_path / 'two.jsonl')
    assert (tmp_path / 'two.jsonl').read_bytes() == out.read_bytes()

    content = out.read_bytes()
    out.write_bytes(content[:-9])
    assert run(*predict, out, '--resume') == '1 of 7 images could not be read.'
    assert out.read_bytes() == content
    assert 'was made with different settings' in run(*predict, out, '--resume', '--topk', 2)


def test_images_of_a_tar_file_are_drawn(work_dir, inputs, tmp_path, monkeypatch, capfd):
    output = tmp_path / 'drawn'
    run_in_process(monkeypatch, capfd, 'predict.py', work_dir, inputs[0], '--out-dir', output)
    assert [path.name[7:] for path in sorted(output.iterdir())] == [
        f'{image.stem}.png' for image in IMAGES[3:]
    ]


def predict_many(out, names):
    """Predict as models do, without a model: each image gets the same scores."""
    scores = np.linspace(0, 1, 20)
    classes = [f'label {number}' for number in range(20)]
    labels = np.array([19, 18, 17])
    predict = lambda batch: [make_record(path, classes, scores, labels) for path in batch]
    file = record_file(out)
    sources = iter(names)
    outcome = begin(file, RunNote({}), out.exists(), sources)

    with file:
        loaded = read_ahead(lambda path: path, sources, 0, 64)
        write_records(run_batches(predict, loaded, 32), file.write, outcome, all_scores=False)

    return outcome.images


def peak_of(run):
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """Ten times as many entries in a list, ten times as many in the file that a run goes on with."""

    def run(number):
        path = tmp_path / f'{number}.txt'
        with open(path, 'w') as file:
            file.writelines(f'{place:012d}/photo.jpg\n' for place in range(number))
        out = tmp_path / f'{number}.jsonl'
        stream = ImageStream(lists=[path], trust_lists=True)
        assert predict_many(out, itertools.islice(stream, number // 2)) == number // 2
        assert predict_many(out, stream) == number

    run(500)  # what is made once
    few = peak_of(lambda: run(1000))
    many = peak_of(lambda: run(10_000))
    assert many < few + 200_000
