"""The inferencer against MMEngine's own test loop, and on all kinds of input."""

import http.server
import io
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import picture_files as make
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from PIL import EpsImagePlugin, Image
from tools_helpers import SLICE

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.apis.collecting import collect_predictions
from morn_plugin.apis.exporting import describe_model
from morn_plugin.apis.finding import find_model
from morn_plugin.deploy import running
from morn_plugin.deploy.labels import Thresholds

TIMEOUT = 20  # seconds, after which a wait for another thread has failed


@pytest.fixture(scope='module')
def inferencer(work_dir):
    return MultiLabelInferencer(work_dir, device='cpu', num_workers=2)


@pytest.fixture(scope='module')
def files():
    items = json.loads((SLICE / 'test.json').read_text())['data_list'][:11]
    return [str(SLICE / item['img_path']) for item in items]


@pytest.fixture(scope='module')
def expected(work_dir):
    """The samples that the Runner's own test loop gives."""
    cfg, checkpoint, _ = find_model(work_dir)
    model = MODELS.build(cfg.model)
    model.load_state_dict(checkpoint['state_dict'])
    model.eval()
    init_default_scope('mmpretrain')
    loader = Runner.build_dataloader(cfg.test_dataloader)
    with torch.no_grad():
        return [sample for batch in loader for sample in model.test_step(batch)]


def test_agrees_with_the_test_loop(inferencer, expected, files):
    found = inferencer(files, batch_size=4)['predictions']
    assert len(found) == len(files)
    # or the rest would show nothing
    assert len({tuple(sorted(record['labels'])) for record in found}) > 1

    for record, sample, path in zip(found, expected, files, strict=False):
        assert record['img_path'] == path
        assert sorted(record['labels']) == sample.pred_label.tolist()
        assert record['path'] == sample.step_labels.tolist()
        assert record['names'] == [inferencer.classes[label] for label in record['labels']]

        for name, key in dict(
            scores='pred_score', cnn_scores='cnn_score', step_scores='step_scores'
        ).items():
            np.testing.assert_allclose(record[name], sample.get(key).numpy(), atol=1e-5)

        assert [record['scores'][label] for label in record['labels']] == sorted(
            (record['scores'][label] for label in record['labels']), reverse=True
        )


def test_a_data_set_as_arrays(inferencer, expected):
    found = collect_predictions(inferencer)
    assert found.scores.shape == (37, 41)
    np.testing.assert_allclose(
        found.scores, torch.stack([sample.pred_score for sample in expected]).numpy(), atol=1e-5
    )
    for row, sample in zip(found.targets, expected, strict=True):
        assert np.flatnonzero(row > 0).tolist() == sample.gt_label.tolist()

    for row, sample in zip(found.predicted, expected, strict=True):
        assert np.flatnonzero(row).tolist() == sample.pred_label.tolist()

    assert found.paths.tolist() == [sample.step_labels.tolist() for sample in expected]


def test_thr_topk_and_thresholds_of_each_label(inferencer, files):
    scores = np.float32([record['scores'] for record in inferencer(files)['predictions']])
    per_label = np.linspace(0.1, 0.9, 41).tolist()
    cases = (
        (dict(thr=0.3), scores > np.float32(0.3)),
        (dict(thr=per_label), scores > np.float32(per_label)),
    )

    for options, wanted in cases:
        records = inferencer(files, **options)['predictions']
        assert [sorted(record['labels']) for record in records] == [
            np.flatnonzero(row).tolist() for row in wanted
        ]

    records = inferencer(files, topk=3)['predictions']
    assert [record['labels'] for record in records] == np.argsort(-scores, axis=1, kind='stable')[
        :, :3
    ].tolist()
    with pytest.raises(ValueError, match='one threshold for each of 41'):
        inferencer(files, thr=[0.5, 0.5])
    with pytest.raises(ValueError, match=r'`thr` to be a number between 0 and 1'):
        inferencer(files, thr=50)


def test_every_kind_of_input_gives_the_same(inferencer, files, tmp_path):
    with Image.open(files[0]) as opened:
        picture = opened.convert('RGB')
    for name in ('b.png', 'a.png', 'deep/c.PNG'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture.save(tmp_path / name)

    (tmp_path / 'notes.txt').write_text('not an image')
    array = np.asarray(picture)[..., ::-1]
    inputs = [
        tmp_path / 'a.png',
        str(tmp_path),
        str(tmp_path / '*.png'),
        [str(tmp_path / 'a.png'), array],
        array,
    ]
    handler = lambda *args: http.server.SimpleHTTPRequestHandler(*args, directory=str(tmp_path))
    server = http.server.HTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    inputs.append(f'http://127.0.0.1:{server.server_port}/b.png')
    found = [inferencer(item)['predictions'] for item in inputs]
    server.shutdown()
    server.server_close()
    assert [len(records) for records in found] == [1, 3, 2, 2, 1, 1]
    assert [record['img_path'].rsplit('/', 1)[1] for record in found[1]] == [
        'a.png',
        'b.png',
        'c.PNG',
    ]
    for record in (record for records in found for record in records):
        np.testing.assert_allclose(record['scores'], found[0][0]['scores'], atol=1e-5)


def test_goes_on_past_what_cannot_be_read(inferencer, files, tmp_path):
    bad = tmp_path / 'bad.png'
    bad.write_bytes(b'no image')
    inputs = [files[0], str(bad), files[1], str(tmp_path / 'missing.png')]
    for batch_size in (1, 2, 8):
        found = list(inferencer.predict(inputs, batch_size=batch_size))
        assert [record['img_path'] for record in found] == inputs
        assert ['error' in record for record in found] == [False, True, False, True]

    assert 'missing.png does not exist' in found[3]['error']
    with pytest.raises(ValueError, match=r'bad\.png cannot be decoded'):
        inferencer(inputs)
    with pytest.raises(FileNotFoundError, match='No file matches'):
        inferencer(str(tmp_path / '*.gif'))
    with pytest.raises(ValueError, match=r'shape \(H, W, 3\) and type uint8'):
        inferencer(np.zeros((4, 4), np.uint8))


def test_no_thread_reads_beside_a_model_on_the_cpu_unless_asked(work_dir):
    assert MultiLabelInferencer(work_dir, device='cpu').num_workers == 0


def test_reading_ahead_changes_nothing(inferencer, files, tmp_path, monkeypatch):
    inputs = [*files[:3], str(tmp_path / 'missing.png'), *files[3:]]
    found = []
    for num_workers in (0, 1, 4):
        monkeypatch.setattr(inferencer, 'num_workers', num_workers)
        found.append(
            [
                *inferencer.predict(iter(inputs), batch_size=3),
                *inferencer(files, batch_size=3)['predictions'],
            ]
        )

    assert [record['img_path'] for record in found[0]] == inputs + files
    assert ['error' in record for record in found[0]].count(True) == 1
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize('run', ['predict', '__call__'])
def test_the_next_batch_is_loaded_while_the_model_runs(inferencer, files, run, monkeypatch):
    """The second batch waits for the model to start on the first, and the model for the second batch to be loaded."""
    started = threading.Event()
    loaded = {path: threading.Event() for path in files[2:4]}
    waits = []
    prepare = inferencer.prepare
    forward = inferencer.forward

    def prepare_late(path):
        if path in loaded:
            waits.append(started.wait(TIMEOUT))
        item = prepare(path)
        if path in loaded:
            loaded[path].set()
        return item

    def forward_late(*args, **kwargs):
        started.set()
        waits.extend(event.wait(TIMEOUT) for event in loaded.values())
        return forward(*args, **kwargs)

    monkeypatch.setattr(inferencer, 'prepare', prepare_late)
    monkeypatch.setattr(inferencer, 'forward', forward_late)
    found = getattr(inferencer, run)(files[:4], batch_size=2)
    assert len(found['predictions'] if run == '__call__' else list(found)) == 4
    assert waits == [True] * 6


def test_reads_no_more_than_two_batches_ahead(inferencer, files):
    taken = []
    batches = inferencer.preprocess((taken.append(path) or path for path in files), batch_size=2)
    counts = [
        (len(taken), [sample.img_path for sample in batch['data_samples']]) for batch in batches
    ]
    assert [number for number, _ in counts] == [6, 8, 10, 11, 11, 11]
    assert [path for _, paths in counts for path in paths] == files


def test_a_failing_transform_comes_to_light_in_its_place(inferencer, files, monkeypatch):
    pipeline = inferencer.pipeline
    forward = inferencer.forward
    batches = []
    failure = RuntimeError('no such channel')

    def fail_on_one(results):
        if results['img_path'] == files[5]:
            raise failure
        return pipeline(results)

    def count(inputs, *args, **kwargs):
        batches.append([sample.img_path for sample in inputs['data_samples']])
        return forward(inputs, *args, **kwargs)

    monkeypatch.setattr(inferencer, 'pipeline', fail_on_one)
    monkeypatch.setattr(inferencer, 'forward', count)
    with pytest.raises(RuntimeError) as caught:
        inferencer(files, batch_size=2)
    assert caught.value is failure
    assert batches == [files[:2], files[2:4]]
    records = list(inferencer.predict(files, batch_size=2))
    assert [record.get('error') for record in records] == [None] * 5 + ['no such channel'] + [
        None
    ] * 5


@pytest.mark.parametrize('end', ['close', 'error'])
def test_ending_early_stops_the_threads(inferencer, files, end, monkeypatch):
    """Both threads are in the second batch when the records end: the third, which waits, is not read."""
    before = set(threading.enumerate())
    released = threading.Event()
    begun = []
    reading = threading.Barrier(3)
    prepare = inferencer.prepare
    forward = inferencer.forward

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, **kwargs):
            super().shutdown(False, **kwargs)
            released.set()
            super().shutdown(wait)

    def prepare_late(path):
        begun.append(path)
        if path not in files[:2]:
            reading.wait(TIMEOUT)
            released.wait(TIMEOUT)
        return prepare(path)

    def forward_late(*args, **kwargs):
        reading.wait(TIMEOUT)
        if end == 'error':
            raise RuntimeError('out of memory')
        return forward(*args, **kwargs)

    monkeypatch.setattr(running, 'ThreadPoolExecutor', Pool)
    monkeypatch.setattr(inferencer, 'prepare', prepare_late)
    monkeypatch.setattr(inferencer, 'forward', forward_late)
    records = inferencer.predict(files, batch_size=2)

    if end == 'close':
        assert next(records)['img_path'] == files[0]
        records.close()
    else:
        with pytest.raises(RuntimeError, match='out of memory') as caught:
            next(records)
        assert caught.traceback  # whose frames are still there when the threads have to be gone

    assert sorted(begun) == sorted(files[:4])
    assert set(threading.enumerate()) <= before


def test_pictures_and_data_samples(inferencer, files, tmp_path):
    found = inferencer(files[:2], return_datasamples=True, out_dir=str(tmp_path))
    assert [sample.img_path for sample in found['predictions']] == files[:2]
    for path in found['visualization']:
        with Image.open(path) as picture:
            assert picture.width > 300


PLAIN = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='MultiLabelLinearClsHead', num_classes=4, in_channels=64),
)


def test_a_model_of_mmpretrain_alone(files, tmp_path):
    """open-mmlab/mmpretrain#1911: all labels of a multi-label model, none of ours in it."""
    torch.save(dict(state_dict=MODELS.build(PLAIN).state_dict()), tmp_path / 'plain.pth')
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(32, 32)),
        dict(type='PackInputs'),
    ]
    (tmp_path / 'plain.py').write_text(
        f'model = {PLAIN}\ntest_dataloader = dict(dataset=dict(pipeline={pipeline}))'
    )
    with pytest.warns(UserWarning, match='contains no class list'):
        inferencer = MultiLabelInferencer(tmp_path, device='cpu')
    (record,) = inferencer(files[0], thr=0.0)['predictions']
    assert sorted(record['names']) == ['label 0', 'label 1', 'label 2', 'label 3']
    assert set(record) == {'img_path', 'labels', 'names', 'scores'}


def write_plain(folder, head):
    model = PLAIN | dict(head=head)
    torch.save(
        dict(
            state_dict=MODELS.build(model).state_dict(),
            meta=dict(dataset_meta=dict(classes=list('abcd'))),
        ),
        folder / 'plain.pth',
    )
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(32, 32)),
        dict(type='PackInputs'),
    ]
    (folder / 'plain.py').write_text(
        f'model = {model}\ntest_dataloader = dict(dataset=dict(type="MultiLabelDataset", pipeline={pipeline}))'
    )
    return folder


def test_a_model_of_one_label_is_refused(tmp_path):
    write_plain(tmp_path, dict(type='LinearClsHead', num_classes=4, in_channels=64))
    with pytest.raises(
        ValueError, match=r'plain\.pth: expected a multi-label classifier, .* LinearClsHead'
    ):
        MultiLabelInferencer(tmp_path, device='cpu')


def test_an_export_decides_as_a_head_of_mmpretrain_with_both_settings(tmp_path):
    write_plain(
        tmp_path,
        dict(type='MultiLabelLinearClsHead', num_classes=4, in_channels=64, thr=0.9, topk=2),
    )
    described = describe_model(MultiLabelInferencer(tmp_path, device='cpu'))
    assert (described['thr'], described['topk']) == (0.9, None)


def test_what_cannot_be_used_is_named(work_dir, tmp_path):
    with pytest.raises(ValueError, match="Device 'nonsense' cannot be used"):
        MultiLabelInferencer(work_dir, device='nonsense')
    (tmp_path / 'model.pth').write_bytes(b'garbage')
    with pytest.raises(ValueError, match=r'model\.pth'):
        MultiLabelInferencer(tmp_path)
    (tmp_path / 'settings.py').write_text('log_level = "INFO"')
    with pytest.raises(
        ValueError, match=r'settings\.py: expected a config with `model`, but got .*log_level'
    ):
        MultiLabelInferencer(work_dir, tmp_path / 'settings.py')


def test_a_decoder_of_scores_is_to_be_put_behind_its_cnn(work_dir, tmp_path):
    cfg, _, _ = find_model(work_dir)
    cfg.test_dataloader.dataset = dict(type='ScoreDataset', ann_file='scores_test.safetensors')
    cfg.dump(tmp_path / 'c.py')
    with pytest.raises(ValueError, match=r'tested on a ScoreDataset.*merge_decoder\.py'):
        MultiLabelInferencer(work_dir, tmp_path / 'c.py')


def test_an_address_that_cannot_be_fetched_is_one_image_less(inferencer, files):
    found = list(inferencer.predict([files[0], 'nowhere://x/y.jpg', files[1]]))
    assert ['error' in record for record in found] == [False, True, False]
    assert 'nowhere://x/y.jpg cannot be fetched' in found[1]['error']


def test_thresholds_of_a_file(inferencer, files, tmp_path):
    thr = [0.3 + 0.01 * label for label in range(len(inferencer.classes))]
    Thresholds(thr, inferencer.classes, 'per-label-f1', 'val.json').save(tmp_path / 't.json')
    expected = inferencer(files, thr=thr)['predictions']
    assert inferencer(files, thr=tmp_path / 't.json')['predictions'] == expected
    assert list(inferencer.predict(files, thr=str(tmp_path / 't.json'))) == expected


def test_weights_that_do_not_fit(work_dir, tmp_path):
    _, checkpoint, _ = find_model(work_dir)
    checkpoint['state_dict'].pop('head.fc.bias')
    torch.save(checkpoint, tmp_path / 'epoch_1.pth')
    with pytest.raises(ValueError, match=r'does not fit its config[\s\S]*head\.fc\.bias'):
        MultiLabelInferencer(tmp_path)


def test_pictures_in_memory_give_what_their_files_give(inferencer, files):
    content = Path(files[0]).read_bytes()
    expected = inferencer(files[0])['predictions'][0]['scores']
    with Image.open(files[0]) as picture, open(files[0], 'rb') as file:
        found = inferencer([picture, content, file, io.BytesIO(content)])['predictions']
        assert [record['img_path'] for record in found] == [None] * 4
        for record in found:
            np.testing.assert_allclose(record['scores'], expected, atol=1e-5)
        assert inferencer(picture)['predictions'][0]['labels'] == found[0]['labels']


@pytest.mark.parametrize(
    'inputs', [[torch.zeros(3, 8, 8)], torch.zeros(2, 3, 8, 8), [0.5], 7, [None]]
)
def test_other_inputs_are_refused_by_their_kind(inferencer, inputs):
    for run in (inferencer, lambda inputs: list(inferencer.predict(inputs))):
        with pytest.raises(TypeError, match=r'Expected paths, URLs.* but got a'):
            run(inputs)


def test_a_broken_picture_in_memory_is_one_image_less(inferencer, files):
    found = list(inferencer.predict([files[0], b'text', files[1]], batch_size=2))
    assert [record['img_path'] for record in found] == [files[0], None, files[1]]
    assert 'in memory cannot be decoded' in found[1]['error']


def test_thresholds_of_numpy_and_torch_are_numbers(inferencer, files):
    per_label = np.linspace(0.1, 0.9, 41)
    cases = {
        0.25: (np.float32(0.25), np.float64(0.25), np.array(0.25), torch.tensor(0.25)),
        tuple(per_label.tolist()): (per_label, list(per_label), torch.from_numpy(per_label)),
    }
    for plain, others in cases.items():
        expected = inferencer(files[:3], thr=plain)['predictions']
        for thr in others:
            assert inferencer(files[:3], thr=thr)['predictions'] == expected
            assert list(inferencer.predict(files[:3], thr=thr)) == expected

    assert len(inferencer(files[0], topk=np.int64(3))['predictions'][0]['labels']) == 3
    for wrong in (np.float32(5), np.float32('nan'), np.full((2, 41), 0.5), np.bool_(True)):
        with pytest.raises(ValueError, match=r'`thr(\[0\])?` to be a number between 0 and 1'):
            inferencer(files[0], thr=wrong)


@pytest.mark.slow
def test_pictures_of_what_is_in_memory_and_of_odd_names_are_drawn(inferencer, files, tmp_path):
    odd = tmp_path / os.fsdecode(b'bad\xff.webp')
    odd.write_bytes(Path(files[0]).read_bytes())
    long = tmp_path / f'{"a" * 250}.png'
    with Image.open(files[0]) as opened:
        picture = opened.convert('RGB')
    picture.save(long)
    array = np.asarray(picture)[..., ::-1].copy()
    found = inferencer([str(odd), str(long), picture, array], out_dir=str(tmp_path / 'out'))
    names = [os.fsencode(os.path.basename(path)) for path in found['visualization']]
    assert names == [
        b'000000_bad\xff.png',
        b'000001_' + b'a' * 200 + b'.png',
        b'000002_in memory.png',
        b'000003_in memory.png',
    ]
    shown = [np.asarray(Image.open(path).convert('RGB')) for path in found['visualization']]
    assert (shown[2] == shown[3]).mean() > 0.999  # the same colours, whichever order they came in


def test_a_limit_that_is_raised_gives_way(work_dir, files):
    strict = MultiLabelInferencer(work_dir, device='cpu', max_pixels=100)
    (record,) = strict.predict(files[0])
    needed = int(record['error'].rstrip('.').rsplit(' ', 1)[1])
    assert 'raise max_pixels of MultiLabelInferencer (--max-pixels of a tool) to' in record['error']
    with Image.open(files[0]) as picture:
        (record,) = strict.predict(picture)
    assert 'expected at most 100 in all' in record['error']
    loose = MultiLabelInferencer(work_dir, device='cpu', max_pixels=needed)
    assert 'error' not in next(loose.predict(files[0]))


def test_a_loader_of_mmpretrain_gets_no_file_that_the_door_refuses(tmp_path, monkeypatch):
    """Its Pillow backend would hand an EPS file to Ghostscript."""
    write_plain(tmp_path, dict(type='MultiLabelLinearClsHead', num_classes=4, in_channels=64))
    config, loader = tmp_path / 'plain.py', "'type': 'LoadImageFromFile'"
    text = config.read_text()
    assert loader in text
    config.write_text(text.replace(loader, f"{loader}, 'imdecode_backend': 'pillow'"))
    (tmp_path / 'cat.jpg').write_bytes(make.eps(''))
    (tmp_path / 'dog.jpg').write_bytes(make.encode(make.gradient(), 'PNG'))
    monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', lambda *args: pytest.fail('it was run'))
    inferencer = MultiLabelInferencer(tmp_path, device='cpu')
    found = list(inferencer.predict([tmp_path / 'cat.jpg', tmp_path / 'dog.jpg']))
    assert 'expected one of JPEG' in found[0]['error']
    assert 'error' not in found[1]


def test_a_thin_line_is_one_image_less(tmp_path):
    write_plain(tmp_path, dict(type='MultiLabelLinearClsHead', num_classes=4, in_channels=64))
    config = tmp_path / 'plain.py'
    text = config.read_text()
    resize = "{'type': 'Resize', 'scale': (32, 32)}"
    assert resize in text
    config.write_text(text.replace(resize, "{'type': 'ResizeEdge', 'scale': 256}"))
    Image.new('L', (30_000, 1)).save(tmp_path / 'line.png')
    (record,) = MultiLabelInferencer(tmp_path, device='cpu').predict(tmp_path / 'line.png')
    assert 'would become one of 7680000 x 256' in record['error']


def test_exported_models_are_named_as_what_they_are(tmp_path):
    for name, match in (('m.pt2', 'torch.export.load'), ('m.onnx', 'predict.py alone runs')):
        (tmp_path / name).write_bytes(b'PK')
        with pytest.raises(ValueError, match=rf'{name} is .*{match}'):
            MultiLabelInferencer(tmp_path / name)


def test_inferencers_of_mmpretrain_run_on_our_pipeline(work_dir, files):
    """They load images themselves, so that our loader finds an array."""
    from mmpretrain.apis import FeatureExtractor

    cfg, checkpoint, _ = find_model(work_dir)
    model = MODELS.build(cfg.model)
    model.load_state_dict(checkpoint['state_dict'])
    model.cfg = model._config = cfg
    extractor = FeatureExtractor(model, device='cpu')
    with torch.no_grad():
        found = extractor(files[:2], batch_size=2)
    assert len(found) == 2
    batch = next(MultiLabelInferencer(work_dir, device='cpu').preprocess(files[:2], 2))
    expected = model.extract_feat(model.data_preprocessor(batch, False)['inputs'])
    torch.testing.assert_close(found[0][0], expected[0][0], atol=1e-3, rtol=1e-3)
