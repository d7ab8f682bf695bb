import sys

import numpy as np
import pytest
import torch
from helpers import load_golden, samples_of
from mmpretrain.registry import METRICS, MODELS
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from morn_plugin.datasets.annotations import Annotations, save_annotations

CASES = [str(case) for case in load_golden('metrics')['cases']]
KINDS = {'image': 'PerImageF1', 'label': 'PerLabelF1'}
IMAGE_METRICS = ['PerLabelF1', 'PerImageF1', 'OverallF1', 'TopOneAccuracy', 'MeanAveragePrecision']


def evaluate(target, scores, type, batch=7, item='pred_score', **options):
    metric = METRICS.build(dict(type=type, item=item, **options))
    samples = samples_of(target, **{item: scores})
    for start in range(0, len(samples), batch):
        metric.process(None, samples[start : start + batch])
    return metric.evaluate(size=len(samples))


def make_case(num_images=37, num_classes=9, ignored=False):
    rng = np.random.default_rng(0)
    target = (rng.random((num_images, num_classes)) < 0.25).astype(int)
    target[3], target[:, 2] = 0, 0
    if ignored:
        target[rng.random(target.shape) < 0.2] = -1
    scores = rng.random((num_images, num_classes)).astype(np.float32)
    scores[4], scores[:, 3] = 0.1, 0.2
    return target, scores


@pytest.mark.parametrize(('chosen', 'options'), [('prob', dict(thr=0.5)), ('top3', dict(topk=3))])
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('case', CASES)
def test_figures_of_the_authors(case, kind, chosen, options):
    """Their code gives fractions, ours is in percent."""
    golden = load_golden('metrics')
    figures = evaluate(golden[f'{case}/gt'], golden[f'{case}/scores'], KINDS[kind], **options)
    for ours, theirs in (('precision', 'prec'), ('recall', 'rec'), ('f1-score', 'f1')):
        expected = 100 * float(golden[f'{case}/{chosen}/{kind}/{theirs}'])
        assert figures[f'per-{kind}/{ours}'] == pytest.approx(expected, rel=1e-5, abs=1e-5), ours
    if kind == 'label':
        assert figures['per-label/n-plus'] == golden[f'{case}/{chosen}/label/nplus']


@pytest.mark.parametrize('case', [case for case in CASES if not case.startswith('ties')])
def test_top_one_of_the_authors(case):
    golden = load_golden('metrics')
    figures = evaluate(golden[f'{case}/gt'], golden[f'{case}/scores'], 'TopOneAccuracy')
    assert figures['one-step/top-1'] == pytest.approx(
        100 * float(golden[f'{case}/prob/image/acc_top1'])
    )


def test_the_contract_of_names():
    target, scores = make_case()
    names = {'precision', 'recall', 'f1-score'}
    assert set(evaluate(target, scores, 'PerLabelF1', thr=0.5)) == {
        f'per-label/{name}' for name in names | {'n-plus'}
    }
    assert set(evaluate(target, scores, 'PerImageF1', thr=0.5)) == {
        f'per-image/{name}' for name in names
    }
    assert set(evaluate(target, scores, 'PerImageF1', prefix='cnn/per-image')) == {
        f'cnn/per-image/{n}' for n in names
    }


@pytest.mark.parametrize('type', ['PerLabelF1', 'PerImageF1'])
def test_precision_and_recall_agree_with_mmpretrain(type):
    """Its macro average over labels; over images the same of the transposed matrix."""
    target, scores = make_case()
    transpose = (lambda array: array) if type == 'PerLabelF1' else np.transpose
    theirs = METRICS.get('MultiLabelMetric').calculate(
        torch.tensor(transpose((scores > 0.5).astype(int)).copy()),
        torch.tensor(transpose(target).copy()),
        pred_indices=False,
        target_indices=False,
        num_classes=transpose(target).shape[1],
        average='macro',
    )
    precision, recall, *_ = theirs
    figures = list(evaluate(target, scores, type).values())
    assert figures[:2] == pytest.approx([precision.item(), recall.item()], abs=1e-4)


def test_exactly_the_threshold_is_not_predicted():
    figures = evaluate([[1, 1]], np.array([[0.5, 0.50001]]), 'PerImageF1', thr=0.5)
    assert figures['per-image/recall'] == 50


def test_topk_breaks_ties_by_the_lower_class():
    assert (
        evaluate([[1, 1, 0, 0]], np.full((1, 4), 0.3), 'PerImageF1', topk=2)['per-image/f1-score']
        == 100
    )


def test_undefined_and_unlabelled_by_hand():
    """Images: right; nothing predicted; nothing true."""
    target = [[1, 0], [1, 0], [0, 0]]
    scores = np.array([[0.9, 0.1], [0.1, 0.1], [0.9, 0.1]])
    means = lambda **options: list(evaluate(target, scores, 'PerImageF1', **options).values())[:2]
    assert means() == pytest.approx([100 / 3, 100 / 3])
    assert means(undefined='skip') == pytest.approx([50, 50])
    assert means(unlabelled='drop') == pytest.approx([50, 50])
    assert means(unlabelled='drop', undefined='skip') == pytest.approx([100, 50])
    labels = lambda **options: list(evaluate(target, scores, 'PerLabelF1', **options).values())
    assert labels() == pytest.approx([25, 25, 25, 1])
    assert labels(undefined='skip') == pytest.approx([50, 50, 50, 1])


def test_ignored_labels_are_left_out_of_every_count():
    """The prediction on an ignored label changes nothing."""
    target, scores = make_case(ignored=True)
    for type in IMAGE_METRICS:
        high, low = (np.where(target < 0, value, scores) for value in (0.999, 0.001))
        assert evaluate(target, high, type) == evaluate(target, low, type)


def test_score_vectors_and_label_lists_give_the_same():
    target, scores = make_case()
    metric = METRICS.build(dict(type='PerLabelF1'))
    metric.process(
        None,
        [
            dict(gt_label=torch.tensor(row).nonzero()[:, 0], pred_score=torch.tensor(score))
            for row, score in zip(target, scores, strict=True)
        ],
    )
    assert metric.evaluate(len(target)) == evaluate(target, scores, 'PerLabelF1')


def test_labels_that_the_decoder_chose():
    target, scores = make_case()
    chosen = scores > 0.7
    metric = METRICS.build(dict(type='PerImageF1', use_pred_label=True))
    samples = samples_of(target, pred_score=scores)
    for sample, row in zip(samples, chosen, strict=True):
        sample['pred_label'] = torch.tensor(row).nonzero()[:, 0]
    metric.process(None, samples)
    assert metric.evaluate(len(samples)) == evaluate(target, scores, 'PerImageF1', thr=0.7)


def test_labels_of_a_sequence():
    """A decoder without threshold behind its head: figures of the labels it named, not of its scores."""
    target, scores = make_case()
    head = MODELS.build(
        dict(
            type='LabelDecoderHead',
            num_classes=9,
            in_channels=None,
            decoder=dict(
                type='LabelSequenceLSTM',
                order='frequent_first',
                embed_dims=4,
                hidden_dims=6,
                init_state='linear',
            ),
        )
    )
    torch.nn.init.normal_(head.decoder.output.weight, std=9)
    head.decoder.prepare([*'abcdefghi'], target.astype(np.int8))
    with torch.no_grad():
        predictions = head.predict_scores(torch.tensor(scores))
    named = np.array(
        [[label in sample.step_labels for label in range(9)] for sample in predictions]
    )
    assert len(np.unique(named.sum(1))) > 1
    samples = samples_of(
        target,
        **{
            name: torch.stack([sample.get(name) for sample in predictions])
            for name in ('pred_score', 'step_scores')
        },
    )
    for sample, prediction in zip(samples, predictions, strict=True):
        sample['pred_label'] = prediction.pred_label

    for type in KINDS.values():
        metric = METRICS.build(dict(type=type, use_pred_label=True))
        metric.process(None, samples)
        assert metric.evaluate(len(samples)) == evaluate(
            target, named.astype(np.float32), type, thr=0.5
        )

    metric = METRICS.build(dict(type='TopOneAccuracy'))
    metric.process(None, samples)
    right = [
        row[sample.step_scores[0].argmax()] > 0
        for row, sample in zip(target, predictions, strict=True)
    ]
    assert metric.evaluate(len(samples))['one-step/top-1'] == pytest.approx(100 * np.mean(right))


@pytest.fixture
def ann_file(tmp_path):
    """Training labels in which class k is in 9 - k images, but for two that are equally frequent."""
    path = tmp_path / 'train.json'
    data = [
        dict(img_path=f'{i}.jpg', gt_label=[k for k in range(9) if i < 9 - max(k, 1)])
        for i in range(9)
    ]
    save_annotations(path, Annotations([*'abcdefghi'], data))
    return str(path)


METRIC_TYPES = [*IMAGE_METRICS, 'ConstantAnswer']


@pytest.mark.parametrize('type', METRIC_TYPES)
def test_figures_do_not_depend_on_batches_or_processes(type, ann_file):
    target, scores = make_case(ignored=True)
    options = dict(ann_file=ann_file) if type == 'ConstantAnswer' else {}
    whole = evaluate(target, scores, type, batch=37, **options)
    assert all(
        evaluate(target, scores, type, batch=batch, **options) == whole for batch in (1, 2, 36)
    )

    parts = []  # three processes: images dealt out in turn, as the sampler does
    for rank in range(3):
        part = METRICS.build(dict(type=type, item='pred_score', **options))
        part.process(None, samples_of(target[rank::3], pred_score=scores[rank::3]))
        parts.append(part)

    assert [len(part.results) for part in parts] == [13, 12, 12]  # one entry an image
    dealt = [
        result
        for place in zip(*([*part.results, None] for part in parts), strict=False)
        for result in place
    ]
    parts[0].results = [result for result in dealt if result is not None][:37]
    together = parts[0].evaluate(size=len(parts[0].results))
    assert together == whole


@pytest.mark.parametrize('type', ['PerLabelF1', 'PerImageF1', 'OverallF1'])
def test_an_image_takes_few_bytes(type):
    target = np.zeros((10, 81))
    scores = np.zeros((10, 81))
    metric = METRICS.build(dict(type=type))
    metric.process(None, samples_of(target, pred_score=scores))
    assert len(metric.results) == 10
    assert max(len(result) for result in metric.results) == 22
    # 81 scores of 4 bytes and as many targets would be 648
    assert max(map(sys.getsizeof, metric.results)) < 64


def brute_force(target, order):
    """The best constant answer, from the definitions of the figures."""
    best = None
    for k in range(1, target.shape[1] + 1):
        scores = np.zeros(target.shape)
        scores[:, order[:k]] = 1
        image = evaluate(target, scores, 'PerImageF1', prefix='constant/per-image')

        if (
            best is None
            or image['constant/per-image/f1-score'] > best['constant/per-image/f1-score']
        ):
            label = evaluate(target, scores, 'PerLabelF1', prefix='constant/per-label')
            label.pop('constant/per-label/n-plus')
            best = {**image, **label, 'constant/k': k}

    falling = np.zeros(target.shape)
    falling[:, order] = np.linspace(0.9, 0.1, target.shape[1])
    return best | {'constant/top-1': evaluate(target, falling, 'TopOneAccuracy')['one-step/top-1']}


@pytest.mark.parametrize('ignored', [False, True])
def test_constant_answer_is_the_best_of_all(ann_file, ignored):
    target, scores = make_case(ignored=ignored)
    figures = evaluate(target, scores, 'ConstantAnswer', ann_file=ann_file)
    # the classes stand in order of frequency
    assert figures == pytest.approx(brute_force(target, range(9)))


def test_constant_answer_needs_the_same_classes(ann_file):
    with pytest.raises(ValueError, match=r'train\.json: expected 4 classes'):
        evaluate(np.zeros((2, 4)), np.zeros((2, 4)), 'ConstantAnswer', ann_file=ann_file)


def test_top_one_looks_at_the_first_step():
    steps = np.array([[[0.9, 0.8], [0.1, 0.9]], [[0.2, 0.3], [0.9, 0.1]], [[0.7, 0.3], [0.0, 0.9]]])
    figures = evaluate([[1, 0], [1, 0], [0, 0]], steps, 'TopOneAccuracy', item='step_scores')
    assert figures == {'one-step/top-1': pytest.approx(100 / 3)}
    assert (
        evaluate([[1, 0]], np.array([[0.6, 0.5]]), 'TopOneAccuracy', item='cnn_score')[
            'one-step/top-1'
        ]
        == 100
    )


@pytest.mark.parametrize('type', IMAGE_METRICS)
@pytest.mark.parametrize('wrong', [float('nan'), -0.25, 1.5, float('inf')])
def test_scores_that_are_no_probabilities_name_the_image(type, wrong):
    scores = np.full((5, 3), 0.5)
    scores[3, 1] = wrong
    with pytest.raises(ValueError, match=rf'`pred_score`.*{wrong}.*3\.jpg'):
        evaluate(np.zeros((5, 3)), scores, type)


@pytest.mark.parametrize('type', IMAGE_METRICS)
def test_missing_fields_name_the_image(type):
    metric = METRICS.build(dict(type=type, item='pred_score'))
    with pytest.raises(ValueError, match=r'`pred_score`.*0\.jpg'):
        metric.process(None, samples_of(np.zeros((1, 3)), cnn_score=np.zeros((1, 3))))
    with pytest.raises(ValueError, match=r'gt_label or gt_score.*7\.jpg'):
        metric.process(None, [dict(pred_score=torch.zeros(3), img_path='7.jpg')])


@pytest.mark.parametrize('type', IMAGE_METRICS)
def test_a_model_without_a_cnn_has_no_figures_of_one(type):
    metric = METRICS.build(dict(type=type, item='cnn_score'))
    for _ in range(2):
        metric.process(None, samples_of(np.zeros((3, 4)), pred_score=np.zeros((3, 4))))
    assert metric.evaluate(size=6) == {}


@pytest.mark.parametrize('type', IMAGE_METRICS)
def test_scores_of_a_cnn_in_some_images_alone_are_an_error(type):
    with_cnn = samples_of(np.zeros((2, 4)), cnn_score=np.zeros((2, 4)))
    without = samples_of(np.zeros((3, 4)), pred_score=np.zeros((3, 4)))[2:]
    metric = METRICS.build(dict(type=type, item='cnn_score'))
    metric.process(None, with_cnn)
    metric.process(None, without)
    with pytest.raises(ValueError, match=r'`cnn_score` in .* all 3 images .* 1 lack it.* 2\.jpg'):
        metric.evaluate(size=3)
    with pytest.raises(ValueError, match=r'`cnn_score`.*2\.jpg'):
        METRICS.build(dict(type=type, item='cnn_score')).process(None, with_cnn + without)


def test_top_one_of_a_model_without_steps_is_that_of_its_scores():
    target, scores = make_case()
    metric = METRICS.build(dict(type='TopOneAccuracy'))
    metric.process(None, samples_of(target, pred_score=scores))
    (found,) = metric.evaluate(size=len(target)).values()
    right = [row[score.argmax()] > 0 for row, score in zip(target, scores, strict=True)]
    assert found == pytest.approx(100 * np.mean(right))

    steps = samples_of(target, pred_score=scores, step_scores=scores[:, None])
    with pytest.raises(ValueError, match=r'`step_scores`.*1\.jpg'):
        METRICS.build(dict(type='TopOneAccuracy')).process(
            None, [steps[0], *samples_of(target, pred_score=scores)[1:]]
        )


@pytest.mark.parametrize('ignored', [False, True])
def test_overall_figures_are_those_of_scikit_learn_and_mmpretrain(ignored):
    target, scores = make_case(ignored=ignored)
    figures = evaluate(target, scores, 'OverallF1')
    known = target >= 0
    expected = precision_recall_fscore_support(
        target[known] > 0, scores[known] > 0.5, average='binary'
    )[:3]
    assert list(figures.values()) == pytest.approx([100 * value for value in expected])
    assert set(figures) == {f'overall/{name}' for name in ('precision', 'recall', 'f1-score')}

    theirs = METRICS.get('MultiLabelMetric').calculate(
        torch.tensor(scores), torch.tensor(target), average='micro', thr=0.5
    )
    assert [float(value) for value in theirs[:3]] == pytest.approx(list(figures.values()), abs=1e-3)


def test_mmpretrain_predicts_a_label_at_the_threshold_and_we_do_not():
    target = np.array([[1, 0]])
    scores = np.array([[0.9, 0.5]], dtype=np.float32)
    theirs = METRICS.get('MultiLabelMetric').calculate(
        torch.tensor(scores), torch.tensor(target), average='micro', thr=0.5
    )
    assert float(theirs[0]) == 50
    assert evaluate(target, scores, 'OverallF1')['overall/precision'] == 100
    assert evaluate(target, scores, 'OverallF1', inclusive=True)['overall/precision'] == 50


@pytest.mark.parametrize('ignored', [False, True])
def test_mean_average_precision_is_that_of_scikit_learn_and_mmpretrain(ignored):
    target, scores = make_case(ignored=ignored)
    scores[:, 3] = np.linspace(0.1, 0.3, len(scores))  # no ties, which only scikit-learn gets right
    figures = evaluate(target, scores, 'MeanAveragePrecision')

    expected = []
    for label in range(target.shape[1]):
        known = target[:, label] >= 0
        true = target[known, label] > 0
        expected.append(
            100 * average_precision_score(true, scores[known, label]) if true.any() else 0
        )

    assert figures == {'multi-label/mAP': pytest.approx(np.mean(expected))}
    skipped = evaluate(target, scores, 'MeanAveragePrecision', undefined='skip')
    assert skipped['multi-label/mAP'] == pytest.approx(np.sum(expected) / 8)  # label 2: no image

    theirs = METRICS.get('AveragePrecision').calculate(torch.tensor(scores), torch.tensor(target))
    assert float(theirs) == pytest.approx(figures['multi-label/mAP'], abs=1e-3)


def test_mean_average_precision_of_equal_scores_does_not_depend_on_the_order():
    target = np.array([[1], [0], [0], [1]])
    scores = np.full((4, 1), 0.5)
    for order in ([0, 1, 2, 3], [1, 2, 0, 3]):
        figures = evaluate(target[order], scores, 'MeanAveragePrecision')
        assert figures['multi-label/mAP'] == pytest.approx(50)
        theirs = METRICS.get('AveragePrecision').calculate(
            torch.tensor(scores), torch.tensor(target[order])
        )
        assert float(theirs) != pytest.approx(50)


PROTOCOLS = {
    'srn_all': (
        dict(type='MeanAveragePrecision', envelope=True),
        dict(type='PerLabelF1', undefined='one', f1='mean'),
        dict(type='OverallF1', undefined='one'),
    ),
    'mlgcn_all': (
        dict(type='OverallF1', inclusive=True, at_least_one=True),
        dict(type='PerLabelF1', inclusive=True),
    ),
    'mlgcn_top3': (
        dict(type='OverallF1', topk=3, floor=0.5, inclusive=True, at_least_one=True),
        dict(type='PerLabelF1', topk=3, floor=0.5, inclusive=True),
    ),
    'first_author_threshold': (
        dict(type='PerLabelF1', undefined='one', f1='mean'),
        dict(type='PerImageF1', undefined='one', f1='mean'),
    ),
    'first_author_top3': (
        dict(type='PerLabelF1', topk=3, undefined='one', f1='mean'),
        dict(type='PerImageF1', topk=3, undefined='one', f1='mean'),
    ),
}
SRN_ORDER = [0, 3, 1, 2, 6, 4, 5]  # theirs starts with F1, ours with precision


@pytest.mark.parametrize('name', PROTOCOLS)
def test_figures_of_other_groups_code_by_options(name):
    golden = load_golden('protocols')
    scores = 1 / (1 + np.exp(-golden['logits']))
    figures = []
    for options in PROTOCOLS[name]:
        found = evaluate(golden['labels'], scores, **options)
        figures += [value for key, value in found.items() if not key.endswith('n-plus')]

    if name == 'srn_all':
        figures = [figures[place] for place in SRN_ORDER]
    assert figures == pytest.approx(100 * golden[name], abs=1e-6)


@pytest.mark.parametrize('type', IMAGE_METRICS)
def test_an_empty_test_set_is_an_error(type):
    with pytest.raises(ValueError, match='no image'):
        METRICS.build(dict(type=type)).evaluate(size=0)


@pytest.mark.parametrize(
    'options',
    [
        dict(thr=50),
        dict(topk=0),
        dict(undefined='nan'),
        dict(unlabelled='ignore'),
        dict(f1='macro'),
        dict(floor=0.5),
        dict(floor=5, topk=3),
    ],
)
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=f'`{next(iter(options))}`'):
        METRICS.build(dict(type='PerImageF1', **options))


@pytest.mark.parametrize(
    'options',
    [
        dict(thr=0.5, topk=3),
        dict(use_pred_label=True, thr=0.5),
        dict(use_pred_label=True, inclusive=True),
    ],
)
def test_options_that_exclude_each_other(options):
    with pytest.raises(ValueError, match='either'):
        METRICS.build(dict(type='PerLabelF1', **options))


def test_topk_above_the_number_of_classes_is_an_error():
    with pytest.raises(ValueError, match='`topk`'):
        evaluate(np.zeros((2, 3)), np.zeros((2, 3)), 'PerLabelF1', topk=4)


def test_results_are_collected_on_the_cpu_unless_asked():
    assert METRICS.build(dict(type='PerLabelF1')).collect_device == 'cpu'
