import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmpretrain.registry import DATASETS, TRANSFORMS
from PIL import Image

from morn_plugin.datasets.annotations import AnnotationError, Annotations, save_annotations


@pytest.fixture
def root(tmp_path):
    data = [
        dict(img_path='a.png', gt_label=[0, 2]),
        dict(img_path='b.png', gt_label=[], gt_label_difficult=[1]),
    ]
    save_annotations(
        tmp_path / 'plain.json', Annotations(['cat', 'dog', 'cow'], data[:1], dict(source='hand'))
    )
    save_annotations(tmp_path / 'difficult.json', Annotations(['cat', 'dog', 'cow'], data))
    for name in ('a.png', 'b.png'):
        Image.new('RGB', (5, 4), (10, 20, 30)).save(tmp_path / name)

    return tmp_path


def build(root, ann_file, **options):
    return DATASETS.build(
        dict(
            type='CheckedMultiLabelDataset',
            data_root=str(root),
            ann_file=ann_file,
            pipeline=[
                TRANSFORMS.build(dict(type='LoadCheckedImage')),
                TRANSFORMS.build(dict(type='PackInputs')),
            ],
            **options,
        )
    )


def test_labels_reach_the_samples(root):
    dataset = build(root, 'plain.json')
    assert dataset.metainfo['classes'] == ('cat', 'dog', 'cow')
    assert dataset.metainfo['source'] == 'hand'
    sample = dataset[0]['data_samples']
    assert sample.gt_label.tolist() == [0, 2]
    assert 'gt_score' not in sample
    assert sample.img_path == str(root / 'a.png')
    assert dataset.get_cat_ids(0) == [0, 2]


def test_difficult_labels_become_minus_one(root):
    dataset = build(root, 'difficult.json')
    assert [dataset[i]['data_samples'].gt_score.tolist() for i in range(2)] == [
        [1, 0, 1],
        [0, -1, 0],
    ]


def test_samples_go_from_data_set_to_loss(root):
    from morn_plugin.models import LabelDecoderHead

    dataset = build(root, 'difficult.json')
    batch = pseudo_collate([dataset[0], dataset[1]])
    head = LabelDecoderHead(3, 2, None)
    assert head.loss((torch.randn(2, 2),), batch['data_samples'])['loss_cnn'].isfinite()


def test_classes_of_the_config_must_agree(root):
    build(root, 'plain.json', metainfo=dict(classes=['cat', 'dog', 'cow']))
    with pytest.raises(AnnotationError, match=r'plain\.json.*another order'):
        build(root, 'plain.json', metainfo=dict(classes=['dog', 'cat', 'cow']))


def test_two_data_sets_do_not_share_their_classes(root):
    save_annotations(
        root / 'other.json', Annotations(['x'], [dict(img_path='a.png', gt_label=[0])])
    )
    first = build(root, 'plain.json')
    second = build(root, 'other.json')
    assert (len(first.metainfo['classes']), second.metainfo['classes']) == (3, ('x',))


def test_a_broken_file_is_named(root):
    (root / 'bad.json').write_text(
        '{"metainfo": {"classes": ["a"]}, "data_list": [{"img_path": "a.png", "gt_label": [1]}]}'
    )
    with pytest.raises(AnnotationError, match=r'bad\.json.*data_list\[0\]\.gt_label'):
        build(root, 'bad.json')
