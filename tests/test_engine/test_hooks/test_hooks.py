import os
from logging import getLogger
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import make_sample
from mmengine.dataset import Compose
from mmpretrain.registry import HOOKS, TRANSFORMS
from PIL import Image
from torch import nn

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.datasets.transforms import ImageError
from morn_plugin.engine.hooks.paper_table_hook import COLUMNS, FIELD_COLUMNS, format_table
from morn_plugin.engine.hooks.visualization_hook import find_loader, make_prediction

CLASSES = ['cat', 'dog', 'cow']


class Data(list):
    """Images with their labels, as much of a data set as the hooks see."""

    metainfo = dict(classes=CLASSES)

    def get_cat_ids(self, index):
        return self[index]


def make_runner(labels=(), model=None, **fields):
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=Data(labels)))
    return SimpleNamespace(
        _train_loop=None,
        _val_loop={},
        _test_loop=loop,
        test_dataloader=loop.dataloader,
        model=model or nn.Module(),
        logger=getLogger('test_hooks'),
        _resume=False,
        _load_from='x.pth',
        **fields,
    )


class Frozen(nn.Module):
    frozen = ('backbone', 'head.fc')


def checkpoint_of(*classes):
    return dict(meta=dict(dataset_meta=dict(classes=classes)), state_dict={})


def test_a_checkpoint_of_other_classes_is_refused():
    hook = HOOKS.build(dict(type='CheckpointCheckHook'))
    hook.after_load_checkpoint(make_runner(), checkpoint_of('cat', 'dog', 'cow'))
    with pytest.raises(AnnotationError, match=r"checkpoint.*another order.*index 1 'cow'"):
        hook.after_load_checkpoint(make_runner(), checkpoint_of('cat', 'cow', 'dog'))
    with pytest.raises(AnnotationError, match='1000 classes against 3'):
        hook.after_load_checkpoint(make_runner(), checkpoint_of(*map(str, range(1000))))


@pytest.mark.parametrize(
    'checkpoint',
    [
        dict(state_dict={}),
        dict(meta=None),
        dict(meta=dict(dataset_meta=None)),
        dict(meta=dict(dataset_meta=dict(source='hand'))),
    ],
)
def test_a_checkpoint_without_classes_is_accepted(checkpoint):
    HOOKS.build(dict(type='CheckpointCheckHook')).after_load_checkpoint(make_runner(), checkpoint)


def test_a_frozen_classifier_needs_a_checkpoint():
    hook = HOOKS.build(dict(type='CheckpointCheckHook'))
    runner = make_runner(model=Frozen())
    with pytest.raises(ValueError, match='load_from'):
        hook.before_train(runner)
    hook.after_load_checkpoint(runner, checkpoint_of(*CLASSES))
    hook.before_train(runner)
    HOOKS.build(dict(type='CheckpointCheckHook')).before_train(make_runner())  # nothing frozen


METRICS = {
    'per-label/precision': 59.3,
    'per-label/recall': 58.6,
    'per-label/f1-score': 58.949,
    'cnn/per-image/f1-score': 7.0,
    'one-step/top-1': 100.0,
    'per-label/n-plus': 41.0,
    'multi-label/mAP': 61.25,
    'overall/f1-score': 63.5,
}


def test_the_table_has_the_columns_of_the_paper():
    header, cnn, ours = (
        format_table({'CNN': 'cnn/', 'Multi-order RNN': ''}, METRICS).rstrip().splitlines()[-3:]
    )
    assert [*COLUMNS] == ['P_L', 'R_L', 'F1_L', 'P_I', 'R_I', 'F1_I', 'top-1']
    assert [name for name in COLUMNS if name in header] == [*COLUMNS]
    assert cnn.split() == ['CNN', '-', '-', '-', '-', '-', '7.00', '-']
    assert ours.split() == [
        'Multi-order',
        'RNN',
        '59.30',
        '58.60',
        '58.95',
        '-',
        '-',
        '-',
        '100.00',
    ]
    assert header.index('F1_I') == cnn.index('7.00')  # right aligned, both of four characters


def test_a_figure_that_is_no_number_is_a_dash():
    table = format_table(
        {'CNN': ''}, {'per-label/precision': float('nan'), 'per-label/recall': 1.0}
    )
    assert table.splitlines()[-1].split()[:3] == ['CNN', '-', '1.00']


def test_the_table_goes_to_the_log(caplog):
    hook = HOOKS.build(dict(type='PaperTableHook', rows={'CNN': 'cnn/', 'Constant': 'constant/'}))
    with caplog.at_level('INFO'):
        hook.after_test_epoch(make_runner(), METRICS)
    assert 'percent' in caplog.text
    assert 'CNN' in caplog.text
    assert 'Constant' not in caplog.text  # nothing of it was computed


def test_the_columns_of_other_papers():
    header, cnn, ours = (
        format_table({'CNN': 'cnn/', 'Ours': ''}, METRICS, FIELD_COLUMNS).rstrip().splitlines()
    )
    assert header.split() == ['mAP', 'CP', 'CR', 'CF1', 'OP', 'OR', 'OF1', 'N+']
    assert cnn.split() == ['CNN', *'-' * 8]
    assert ours.split() == ['Ours', '61.25', '59.30', '58.60', '58.95', '-', '-', '63.50', '41']


class Decoder(nn.Module):
    pass


class NamedDecoder(nn.Module):
    display_name = 'Some method'


@pytest.mark.parametrize(
    ('decoder', 'title'), [(Decoder, 'Decoder'), (NamedDecoder, 'Some method'), (None, 'Model')]
)
@pytest.mark.parametrize('wrapped', [False, True])
def test_a_method_is_named_by_its_decoder(caplog, decoder, title, wrapped):
    model = nn.Module()
    model.head = nn.Module()
    if decoder is not None:
        model.head.decoder = decoder()

    if wrapped:
        wrapper = nn.Module()
        wrapper.module = model
        model = wrapper

    with caplog.at_level('INFO'):
        HOOKS.build(dict(type='PaperTableHook')).after_test_epoch(make_runner(model=model), METRICS)
    rows = [line for line in caplog.text.splitlines() if line.startswith((' CNN', f' {title}'))]
    paper = rows[:2]
    field = rows[2:]
    assert [row.split()[-1] for row in paper] == ['-', '100.00']
    assert [row.split()[-1] for row in field] == ['41'], 'nothing of the CNN is in these columns'


@pytest.mark.parametrize('metrics', [None, {}, {'accuracy': 3.0}])
def test_without_figures_there_is_no_table(caplog, metrics):
    with caplog.at_level('INFO'):
        HOOKS.build(dict(type='PaperTableHook', rows={'CNN': 'cnn/'})).after_test_epoch(
            make_runner(), metrics
        )
    assert not caplog.text


def make_output(tmp_path, index, labels):
    path = tmp_path / 'images' / f'image{index}.png'
    path.parent.mkdir(exist_ok=True)
    Image.new('RGB', (30, 20), (index, 100, 200)).save(path)
    sample = make_sample(
        labels,
        img_path=str(path),
        pred_score=torch.tensor([0.9, 0.1, 0.6]),
        step_scores=torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.1, 0.6]]),
    )
    sample.set_metainfo(dict(sample_idx=index))
    return sample.set_pred_label([0, 2])


def run_test(tmp_path, labels, **options):
    hook = HOOKS.build(dict(type='PredictionVisualizationHook', **options))
    runner = make_runner(labels, log_dir=str(tmp_path / 'log'))
    hook.before_test_epoch(runner)
    for index, row in enumerate(labels):
        hook.after_test_iter(runner, index, outputs=[make_output(tmp_path, index, row)])
    hook.after_test_epoch(runner)
    return hook, sorted(path.name for path in (tmp_path / 'log').rglob('*.png'))


def test_an_overview_of_images_with_several_labels(tmp_path):
    labels = [[0, 1]] * 3 + [[0], []] + [[1, 2]] * 4
    hook, pictures = run_test(tmp_path, labels, overview=3)
    assert pictures == ['overview.png']
    assert sorted(hook._drawn) == [0, 5, 8]  # evenly spaced among 0 1 2 5 6 7 8
    picture = np.asarray(
        Image.open(tmp_path / 'log' / 'predictions' / 'overview.png').convert('RGB')
    )
    for index in hook._drawn:  # every image is in the picture
        assert (picture == (index, 100, 200)).all(axis=2).sum() > 1000


def test_one_picture_every_so_many_images(tmp_path):
    _, pictures = run_test(tmp_path, [[0]] * 5, overview=0, interval=2)
    assert pictures == ['000000_image0.png', '000002_image2.png', '000004_image4.png']


def test_nothing_is_drawn_while_it_is_off(tmp_path):
    assert run_test(tmp_path, [[0, 1]] * 3, enable=False, interval=1)[1] == []
    with pytest.raises(ValueError, match='files, not into windows: give --show-dir'):
        HOOKS.build(dict(type='PredictionVisualizationHook', show=True))


def test_the_limit_of_the_pipeline_is_the_limit_of_the_pictures(tmp_path):
    """Whoever raised it to train is not stopped while drawing, also where the data set is wrapped."""
    data = Data([[0, 1]])
    data.pipeline = Compose([TRANSFORMS.build(dict(type='LoadCheckedImage', max_pixels=100))])
    for dataset in (data, SimpleNamespace(dataset=data), SimpleNamespace(datasets=[data])):
        assert find_loader(dataset) is data.pipeline.transforms[0]

    sample = make_output(tmp_path, 0, [0, 1])  # 30 x 20
    with pytest.raises(ImageError, match='expected at most 100 in all'):
        make_prediction(sample, find_loader(data))
    data.pipeline.transforms[0].max_pixels = 600
    assert make_prediction(sample, find_loader(data)).image.shape == (20, 30, 3)
    assert find_loader(Data([])).max_pixels == 100_000_000


def test_file_names_that_are_no_text_are_drawn(tmp_path):
    hook = HOOKS.build(dict(type='PredictionVisualizationHook', interval=1))
    runner = make_runner([[0, 1]], log_dir=str(tmp_path / 'log'))
    hook.before_test_epoch(runner)
    sample = make_output(tmp_path, 0, [0, 1])
    odd = os.path.join(os.fsencode(tmp_path), b'bad\xff.png')
    os.rename(sample.img_path, odd)
    sample.set_metainfo(dict(img_path=os.fsdecode(odd)))
    hook.after_test_iter(runner, 0, outputs=[sample])
    hook.after_test_epoch(runner)
    assert sorted(os.listdir(os.fsencode(tmp_path / 'log' / 'predictions'))) == [
        b'000000_bad\xff.png',
        b'overview.png',
    ]


def test_no_image_with_several_labels_gives_no_overview(tmp_path):
    assert run_test(tmp_path, [[0], [], [1]])[1] == []


def test_fewer_images_than_wanted_are_all_drawn(tmp_path):
    assert sorted(run_test(tmp_path, [[0, 1], [0, 2]], overview=6)[0]._drawn) == [0, 1]


def test_a_prediction_without_steps_or_truth(tmp_path):
    sample = make_output(tmp_path, 0, [0])
    for name in ('step_scores', 'gt_label'):
        sample.pop(name)
    prediction = make_prediction(sample)
    assert prediction.step_scores is None
    assert prediction.true is None
    assert prediction.image[0, 0].tolist() == [0, 100, 200]
    assert prediction.predicted == [0, 2]
