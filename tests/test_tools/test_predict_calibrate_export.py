"""predict, calibrate, test --thresholds and export, run as users run them."""

import csv
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from tools_helpers import ROOT, SLICE, run_failing, run_tool

from morn_plugin.apis import MultiLabelInferencer, checked_export
from morn_plugin.apis.finding import find_model
from morn_plugin.apis.testing import use_thresholds
from morn_plugin.deploy.labels import Thresholds
from morn_plugin.deploy.onnx_model import OnnxModel

pytestmark = pytest.mark.slow  # starts processes

IMAGES = [
    str(SLICE / item['img_path'])
    for item in json.loads((SLICE / 'test.json').read_text())['data_list'][:9]
]


def read_lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_predict_goes_on_and_fails_in_the_end(work_dir, tmp_path):
    bad = tmp_path / 'bad.jpg'
    bad.write_bytes(b'')
    output = run_failing(
        'predict.py',
        IMAGES[0],
        bad,
        IMAGES[1],
        '--model',
        work_dir,
        '--out',
        tmp_path / 'o.jsonl',
        '--batch-size',
        2,
        '--device',
        'cpu',
        cwd=tmp_path,
    )
    assert f'Not read: {bad}' in output
    assert '1 of 3 images could not be read' in output
    assert '3/3' in output
    records = read_lines(tmp_path / 'o.jsonl')
    assert [record['img_path'] for record in records] == [IMAGES[0], str(bad), IMAGES[1]]
    expected = MultiLabelInferencer(work_dir, device='cpu')(IMAGES[0])['predictions'][0]
    assert records[0]['labels'] == expected['labels']
    assert records[0]['path'] == expected['path']


def test_predict_writes_csv_and_all_scores(work_dir, tmp_path):
    run_tool(
        'predict.py',
        work_dir / 'epoch_1.pth',
        *IMAGES[:2],
        '--topk',
        2,
        '--out',
        tmp_path / 'o.csv',
    )
    rows = list(csv.DictReader((tmp_path / 'o.csv').read_text(encoding='utf-8').splitlines()))
    assert [row['img_path'] for row in rows] == IMAGES[:2]
    assert all(len(row['names'].split(';')) == 2 for row in rows)
    run_tool(
        'predict.py', IMAGES[0], '--model', work_dir, '--all-scores', '--out', tmp_path / 'o.jsonl'
    )
    assert np.shape(read_lines(tmp_path / 'o.jsonl')[0]['step_scores']) == (3, 41)
    assert 'give one of' in run_failing(
        'predict.py', 'x', '--model', 'y', '--thr', 0.5, '--topk', 2
    )
    assert 'does not exist' in run_failing('predict.py', tmp_path / 'none', IMAGES[0])


@pytest.mark.parametrize(
    'arguments',
    [
        ['m', 'a', 'b', '--topk', '3'],
        ['m', '--topk', '3', 'a', 'b'],
        ['a', 'b', '--model', 'm', '--topk', '3'],
        ['a', '--topk', '3', 'b', '--model', 'm'],
    ],
)
def test_predict_takes_the_model_first_or_by_its_flag(arguments, monkeypatch):
    parse_args = runpy.run_path(str(ROOT / 'tools' / 'predict.py'))['parse_args']
    monkeypatch.setattr(sys, 'argv', ['predict.py', *arguments])
    args = parse_args()
    assert (args.model, args.images, args.topk) == ('m', ['a', 'b'], 3)


def test_predict_wants_images(monkeypatch, capsys):
    parse_args = runpy.run_path(str(ROOT / 'tools' / 'predict.py'))['parse_args']
    monkeypatch.setattr(sys, 'argv', ['predict.py', 'work_dirs/morn'])
    with pytest.raises(SystemExit):
        parse_args()
    assert 'give images after the model work_dirs/morn' in capsys.readouterr().err


def test_predict_draws_every_image_that_it_reads(work_dir, tmp_path):
    bad = tmp_path / 'bad.jpg'
    bad.write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0')
    arguments = (IMAGES[0], bad, IMAGES[1], '--model', work_dir, '--out', tmp_path / 'o.jsonl')
    output = run_failing(
        'predict.py',
        *arguments,
        '--out-dir',
        tmp_path / 'out',
        '--device',
        'cpu',
        '--max-pixels',
        10**6,
    )
    assert f'Pictures are in {tmp_path / "out"}.' in output
    stems = [Path(IMAGES[0]).stem, Path(IMAGES[1]).stem]
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        f'000000_{stems[0]}.png',
        f'000002_{stems[1]}.png',
    ]
    with Image.open(tmp_path / 'out' / f'000000_{stems[0]}.png') as picture:
        assert picture.width > 1000  # image, labels and steps side by side
    assert len(read_lines(tmp_path / 'o.jsonl')) == 3
    assert 'to 20224' in run_failing(
        'predict.py', IMAGES[0], '--model', work_dir, '--max-pixels', 9
    )


def test_records_alone_go_to_the_screen(work_dir, tmp_path):
    """Each line is JSON, also of a file whose name is no text; what is logged while the model is built goes elsewhere."""
    odd = os.path.join(os.fsencode(tmp_path), b'bad\xff.webp')
    shutil.copy(IMAGES[0], odd)
    config = tmp_path / 'c.py'
    cfg, _, _ = find_model(work_dir)
    cfg.custom_imports = dict(imports=['talking'], allow_failed_imports=False)
    cfg.dump(config)
    (tmp_path / 'talking.py').write_text(
        "from mmengine.logging import MMLogger\nprint('hello')\n"
        "MMLogger.get_instance('talking').info('hello')\n"
    )
    environment = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=f'{ROOT}{os.pathsep}{tmp_path}')
    script = str(ROOT / 'tools' / 'predict.py')
    command = [
        sys.executable,
        script,
        IMAGES[0],
        odd,
        '--model',
        str(work_dir),
        '--config',
        str(config),
    ]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    records = list(map(json.loads, done.stdout.splitlines()))
    assert [os.fsencode(record['img_path']) for record in records] == [IMAGES[0].encode(), odd]
    assert records[0]['labels'] == records[1]['labels']
    assert done.stderr.count('hello') == 2


def test_flags_that_would_change_nothing_are_refused(tmp_path):
    assert 'for checkpoints' in run_failing(
        'predict.py', 'x', '--model', 'm.onnx', '--device', 'cuda:9'
    )
    assert '--floor belongs to' in run_failing('analysis/calibrate.py', 'x', '--floor', 0.5)
    (tmp_path / 'm.pt2').write_bytes(b'PK')
    output = run_failing('predict.py', IMAGES[0], '--model', tmp_path / 'm.pt2')
    assert 'm.pt2 is a torch.export program' in output
    assert 'export the model to .onnx' in output
    (tmp_path / 'm.onnx').write_bytes(b'garbage')
    assert 'm.onnx cannot be loaded' in run_failing(
        'predict.py', IMAGES[0], '--model', tmp_path / 'm.onnx'
    )


def test_thresholds_reach_every_metric_that_decides(tmp_path):
    metrics = [
        dict(type='PerLabelF1'),
        dict(type='PerImageF1', topk=3),
        dict(type='PerLabelF1', item='cnn_score'),
        dict(type='TopOneAccuracy'),
        dict(type='PerLabelF1', use_pred_label=True),
    ]
    cfg = Config(dict(model=dict(head=dict(type='MultiOrderLSTMHead')), test_evaluator=metrics))
    Thresholds([0.2, 0.3], ['a', 'b'], 'x', 'y').save(tmp_path / 't.json')
    use_thresholds(cfg, tmp_path / 't.json')
    assert cfg.model.head.thr == [0.2, 0.3]
    assert [metric.get('thr') for metric in cfg.test_evaluator] == [
        [0.2, 0.3],
        [0.2, 0.3],
        None,
        None,
        None,
    ]
    assert cfg.test_evaluator[1].topk is None

    for other in (
        dict(model=dict(head=dict(type='MultiLabelLinearClsHead')), test_evaluator=[]),
        dict(
            model=dict(head=dict(type='MultiOrderLSTMHead')),
            test_evaluator=dict(type='MultiLabelMetric'),
        ),
    ):
        with pytest.raises(
            ValueError, match=r't\.json: contains a threshold for each label, but MultiLabel'
        ):
            use_thresholds(Config(other), tmp_path / 't.json')


@pytest.fixture(scope='module')
def thresholds(work_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp('calibrate')
    output = run_tool(
        'analysis/calibrate.py',
        work_dir,
        '--measure',
        'per-image-f1',
        '--scope',
        'label',
        '--out',
        out / 't.json',
        '--plot',
        out / 'r.png',
    )
    assert (out / 'r.png').stat().st_size > 10_000
    return out / 't.json', {
        line.rsplit(',', 1)[0] + line.rsplit(',', 1)[1].split()[0]: list(
            map(float, line.split()[2:])
        )
        for line in output.splitlines()
        if line.startswith(('validation,', 'test,'))
    }


def test_calibrated_figures_are_those_of_a_test_with_the_thresholds(thresholds, work_dir, tmp_path):
    path, figures = thresholds
    assert json.loads(path.read_text())['chosen_on'] == 'val.json'
    assert figures['validationcalibrated'][5] > figures['validationbefore'][5] + 1
    cfg, _, _ = find_model(work_dir)
    cfg.dump(tmp_path / 'config.py')

    for options, key in (([], 'testbefore'), (['--thresholds', path], 'testcalibrated')):
        run_tool(
            'test.py',
            tmp_path / 'config.py',
            work_dir / 'epoch_1.pth',
            '--work-dir',
            tmp_path / 'w',
            '--out',
            tmp_path / 'm.json',
            *options,
        )
        metrics = json.loads((tmp_path / 'm.json').read_text())
        found = [
            metrics[f'per-{kind}/{name}']
            for kind in ('label', 'image')
            for name in ('precision', 'recall', 'f1-score')
        ]
        np.testing.assert_allclose(found, figures[key], atol=0.006)


@pytest.fixture(scope='module')
def exported(work_dir, thresholds, tmp_path_factory):
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    out = tmp_path_factory.mktemp('export') / 'model.onnx'
    output = run_tool(
        'export.py', work_dir, '--out', out, '--thresholds', thresholds[0], '--num-images', 8
    )
    assert 'Done: ' in output
    return out


# NumPy, Pillow, pydantic, ONNX and onnxruntime, and what these need.
DEPLOYED = (
    'numpy',
    'PIL',
    'pydantic',
    'pydantic_core',
    'annotated_types',
    'typing_extensions',
    'typing_inspection',
    'onnx',
    'ml_dtypes',
    'onnxruntime',
    'flatbuffers',
    'google',
)
BLOCK = """
import sys
sys.path[:0] = {paths!r}
sys.argv = {argv!r}
import runpy
runpy.run_path({script!r}, run_name='__main__')
assert not {{'torch', 'mmpretrain', 'mmengine', 'mmcv', 'cv2'}} & set(sys.modules)
"""


def test_predict_runs_onnx_without_torch_and_mmpretrain(exported, work_dir, thresholds, tmp_path):
    """A folder with what ``morn_plugin.deploy`` names alone stands for an environment without the rest."""
    site = tmp_path / 'site'
    site.mkdir()

    for name in DEPLOYED:
        module = __import__(name)
        folder = (
            Path(module.__file__).parent
            if getattr(module, '__file__', None)
            else Path(next(iter(module.__path__)))
        )
        alone = Path(getattr(module, '__file__', None) or '')
        if alone.name == f'{name}.py':
            (site / alone.name).symlink_to(alone)
            continue

        for item in (folder, *folder.parent.glob(f'{"pillow" if name == "PIL" else name}.libs')):
            (site / item.name).symlink_to(item)

    out = tmp_path / 'o.jsonl'
    argv = [
        'predict.py',
        *IMAGES,
        '--model',
        str(exported),
        '--all-scores',
        '--out',
        str(out),
        '--batch-size',
        '4',
    ]
    code = BLOCK.format(
        paths=[str(site), str(ROOT)], argv=argv, script=str(ROOT / 'tools' / 'predict.py')
    )
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    done = subprocess.run(
        [sys.executable, '-S', '-I', '-c', code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    thr = json.loads(thresholds[0].read_text())['thr']
    expected = MultiLabelInferencer(work_dir, device='cpu')(IMAGES, thr=thr)['predictions']
    found = read_lines(out)

    for a, b in zip(found, expected, strict=True):
        assert (a['labels'], a['path']) == (b['labels'], b['path'])
        for key in ('scores', 'cnn_scores', 'step_scores'):
            np.testing.assert_allclose(a[key], b[key], atol=1e-4)


def test_an_exported_model_takes_what_the_model_takes_and_is_drawn(exported, tmp_path):
    model = OnnxModel(exported)
    expected = next(model.predict(IMAGES[0]))  # one path is no list of letters
    with Image.open(IMAGES[0]) as picture, open(IMAGES[0], 'rb') as file:
        for record in model.predict([picture, file, Path(IMAGES[0]).read_bytes()]):
            assert record['img_path'] is None
            np.testing.assert_allclose(record['scores'], expected['scores'], atol=1e-5)

    for thr in (np.float32(0.25), np.full(41, 0.25)):
        (found,) = model.predict(IMAGES[0], thr=thr)
        assert found == next(model.predict(IMAGES[0], thr=0.25))

    with pytest.raises(TypeError, match=r'but got a torch\.Tensor'):
        next(model.predict([torch.zeros(3, 8, 8)]))

    draw_records = runpy.run_path(str(ROOT / 'tools' / 'predict.py'))['draw_records']
    assert len(list(draw_records(model.predict(IMAGES[:2]), model, str(tmp_path)))) == 2
    assert len(list(tmp_path.glob('*.png'))) == 2
    (record,) = OnnxModel(exported, max_pixels=9).predict(IMAGES[0])
    assert 'raise max_pixels of OnnxModel (predict.py: --max-pixels) to 20224' in record['error']


def test_export_writes_what_a_user_of_onnx_needs(exported):
    onnx = pytest.importorskip('onnx')
    model = onnx.load(exported)
    assert [item.name for item in model.graph.output] == [
        'scores',
        'cnn_scores',
        'step_scores',
        'step_labels',
    ]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    metadata = json.loads({item.key: item.value for item in model.metadata_props}['morn_plugin'])
    assert len(metadata['classes']) == len(metadata['thr']) == 41
    assert metadata['preprocessing']['mean'] == pytest.approx([123.675, 116.28, 103.53])
    assert metadata['preprocessing']['channels'] == 'RGB'
    assert metadata['preprocessing']['transforms'] == [
        dict(type='resize', scale=[32, 32], backend='cv2')
    ]


def test_export_to_a_program(work_dir, tmp_path):
    run_tool('export.py', work_dir, '--out', tmp_path / 'm.pt2', '--num-images', 4)
    module = torch.export.load(tmp_path / 'm.pt2').module()
    for number in (1, 5):
        assert module(torch.zeros(number, 3, 32, 32))[3].shape == (number, 3)


def test_a_wrong_export_leaves_no_file(work_dir, tmp_path, monkeypatch):
    """The check must be able to fail: other weights at the time of the check."""
    main = runpy.run_path(str(ROOT / 'tools' / 'export.py'))['main']
    written = checked_export.write_program

    def spoil(model, *args):
        written(model, *args)
        torch.nn.init.normal_(model.model.head.fc.weight)

    monkeypatch.setattr(checked_export, 'write_program', spoil)
    monkeypatch.setattr(sys, 'argv', ['export.py', str(work_dir), '--out', str(tmp_path / 'm.pt2')])
    with pytest.raises(SystemExit, match='differ from those of PyTorch'):
        main()
    assert not list(tmp_path.iterdir())


def test_pipeline_that_cannot_be_exported_is_named(work_dir, tmp_path):
    cfg, _, _ = find_model(work_dir)
    cfg.test_dataloader.dataset.pipeline.insert(1, dict(type='Pad', size=(64, 64)))
    cfg.dump(tmp_path / 'c.py')
    output = run_failing(
        'export.py', work_dir, '--config', tmp_path / 'c.py', '--out', tmp_path / 'm.onnx'
    )
    assert "'Pad'" in output
    assert 'could not repeat it' in output
