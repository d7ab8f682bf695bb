"""The tools on a model that decides itself which labels an image has: its own labels everywhere, and no threshold."""

import csv
import json
import re

import numpy as np
import pytest
from tools_helpers import SLICE, run_failing, run_tool, write_config

from morn_plugin.apis import MultiLabelInferencer
from morn_plugin.apis.collecting import collect_predictions
from morn_plugin.apis.exporting import ExportModel
from morn_plugin.apis.visits import Shelf, Uploads, Visits
from morn_plugin.deploy.labels import Thresholds
from morn_plugin.deploy.limits import Limits
from morn_plugin.evaluation.label_graph import count_transitions

pytestmark = pytest.mark.slow  # starts processes

IMAGES = [
    str(SLICE / item['img_path'])
    for item in json.loads((SLICE / 'test.json').read_text())['data_list'][:9]
]
REASON = 'LabelSequenceLSTM decides itself which labels an image has'


@pytest.fixture(scope='module')
def inferencer(sequence_work_dir):
    return MultiLabelInferencer(sequence_work_dir, device='cpu')


@pytest.fixture(scope='module')
def predictions(inferencer):
    """The labels named, their number differing from image to image, and seldom those above any threshold."""
    data = collect_predictions(inferencer)
    assert len(np.unique(data.predicted.sum(1))) > 1
    assert (data.predicted != (data.scores > 0.5)).any()
    return data


def own_labels(data, row):
    return [label for label in data.paths[row].tolist() if label >= 0]


def test_arrays_hold_the_sequence(predictions):
    for row, mask in enumerate(predictions.predicted):
        assert np.flatnonzero(mask).tolist() == sorted(own_labels(predictions, row))


def test_predict_gives_the_labels_named(predictions, sequence_work_dir, tmp_path):
    run_tool(
        'predict.py',
        *IMAGES,
        '--model',
        sequence_work_dir,
        '--out',
        tmp_path / 'o.jsonl',
        '--all-scores',
    )
    for row, line in enumerate((tmp_path / 'o.jsonl').read_text().splitlines()):
        record = json.loads(line)
        path = own_labels(predictions, row)
        assert record['path'] == path
        assert sorted(record['labels']) == sorted(path)
        assert record['path_names'] == [predictions.classes[label] for label in path]
        assert len(record['step_scores']) == min(len(path) + 1, predictions.paths.shape[1])


def test_topk_ranks_by_score(inferencer):
    for record in inferencer(IMAGES, topk=2)['predictions']:
        assert (
            record['labels']
            == np.argsort(-np.array(record['scores'], dtype=np.float32), kind='stable')[:2].tolist()
        )


def test_an_untold_threshold_is_refused(inferencer):
    with pytest.raises(ValueError, match=f'{REASON}, so that there is no threshold to replace'):
        inferencer(IMAGES[:1], thr=0.5)
    with pytest.raises(ValueError, match='LabelSequenceLSTM cannot be exported: it decides itself'):
        ExportModel(inferencer.model)


@pytest.mark.parametrize(
    ('tool', 'arguments', 'message'),
    [
        (
            'predict.py',
            [IMAGES[0], '--thr', 0.5, '--model'],
            f'{REASON}, so that there is no threshold to replace',
        ),
        (
            'predict.py',
            [IMAGES[0], '--thresholds', 'T', '--model'],
            f'{REASON}, so that there is no threshold to replace',
        ),
        (
            'analysis/calibrate.py',
            ['--out', 'O'],
            f'{REASON}, so that there is no threshold to calibrate',
        ),
        (
            'analysis/report.py',
            ['--thresholds', 'T', '--out', 'O'],
            f'{REASON}, so that there is no threshold for --thresholds',
        ),
        (
            'serve.py',
            ['--thresholds', 'T'],
            f'{REASON}, so that there is no threshold for --thresholds',
        ),
        (
            'export.py',
            ['--num-images', 4, '--out', 'O.pt2'],
            'LabelSequenceLSTM cannot be exported: it decides itself',
        ),
        (
            'test.py',
            ['--thresholds', 'T', 'CONFIG', 'CHECKPOINT', '--work-dir', 'W'],
            f'{REASON}: leave out `thr` and `topk`',
        ),
    ],
    ids=['predict-thr', 'predict', 'calibrate', 'report', 'serve', 'export', 'test'],
)
def test_thresholds_are_refused_by_name(
    tool, arguments, message, inferencer, sequence_work_dir, tmp_path
):
    if tool == 'serve.py':
        pytest.importorskip('gradio', reason='gradio is not installed: the extra serve')
    Thresholds(0.5, inferencer.classes, 'per-image-f1', 'val.json').save(tmp_path / 't.json')
    files = dict(
        T=tmp_path / 't.json',
        O=tmp_path / 'out',
        W=tmp_path / 'w',
        CHECKPOINT=sequence_work_dir / 'epoch_1.pth',
        CONFIG=write_config(tmp_path / 'sequence.py', 'cnn-rnn'),
    ) | {'O.pt2': tmp_path / 'out.pt2'}
    arguments = [files.get(argument, argument) for argument in arguments]
    output = run_failing(tool, *arguments, *([] if tool == 'test.py' else [sequence_work_dir]))
    assert message in output
    assert ('Traceback' in output) == (tool == 'test.py')
    assert not list(tmp_path.glob('out*'))


def test_report_says_what_a_test_says(sequence_work_dir, predictions, tmp_path):
    config = write_config(tmp_path / 'sequence.py', 'cnn-rnn')
    output = run_tool(
        'test.py',
        config,
        sequence_work_dir / 'epoch_1.pth',
        '--work-dir',
        tmp_path,
        '--out',
        tmp_path / 'm.json',
    )
    assert re.search(r'^ CNN-RNN ', output[output.index('Results on the test set') :], flags=re.M)
    run_tool(
        'analysis/report.py', sequence_work_dir, '--out', tmp_path / 'report.html', '--images', 1
    )
    metrics = json.loads((tmp_path / 'm.json').read_text())
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert 'Multi-order' not in output + page

    for title, prefix in (('CNN', 'cnn/'), ('CNN-RNN', '')):
        row = re.search(rf'<td class="text">{title}</td>(.*?)</tr>', page).group(1)
        found = [float(value) for value in re.findall(r'data-value="(.*?)"', row)]
        keys = [
            f'per-{kind}/{name}'
            for kind in ('label', 'image')
            for name in ('precision', 'recall', 'f1-score')
        ]
        np.testing.assert_allclose(
            found, [metrics[prefix + key] for key in (*keys, 'one-step/top-1')], atol=1e-6
        )

    rows = re.findall(r'<tr>(.*?)</tr>', page[page.index('class="sortable"') :])[1:]
    assert len(rows) == 41
    assert {re.findall(r'<td.*?>(.*?)</td>', row)[-1] for row in rows} == {'-'}  # no threshold


def test_label_graph_follows_the_sequences(sequence_work_dir, predictions, tmp_path):
    pytest.importorskip('networkx')
    output = run_tool(
        'analysis/label_graph.py', sequence_work_dir, '--out-dir', tmp_path, '--min-count', 1
    )
    count = count_transitions(predictions.paths, 41)
    assert f'{count.sum()} transitions on 37 images' in output
    rows = csv.DictReader((tmp_path / 'transitions.csv').read_text(encoding='utf-8').splitlines())
    assert {(row['label'], row['next']): int(row['count']) for row in rows} == {
        (predictions.classes[a], predictions.classes[b]): count[a, b]
        for a, b in zip(*np.nonzero(count), strict=True)
    }


def test_the_page_shows_the_labels_named(inferencer, predictions, tmp_path):
    limits = Limits(max_images=9, max_megabytes=1)
    uploads = Uploads(tmp_path, limits.lifetime)
    visits = Visits(inferencer, limits, uploads, Shelf(limits))
    key, complaints = visits.upload(IMAGES)
    rows, _ = visits.show(None, key)
    assert complaints == ''
    assert len(rows) == 9

    for row, (_, labels, path) in enumerate(rows):
        names = [predictions.classes[label] for label in own_labels(predictions, row)]
        assert path == ' → '.join(names)
        assert sorted(text.rsplit(' ', 1)[0] for text in labels.split(', ')) == sorted(
            names or ['(none)']
        )
