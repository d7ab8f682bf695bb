# 2PKNN on cached features of Open Clip Art: tools/extract_scores.py ... --features
_base_ = [
    '../_base_/models/cached.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/prepare_1e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(
        num_classes=72,
        decoder=dict(
            type='TwoPassKNN', num_neighbours=4, bandwidth=1.0, normalize_labels='training'
        ),
    )
)
benchmark = dict(
    title='2PKNN',
    groups=['neighbours'],
    search={
        'model.head.decoder.num_neighbours': [2, 4, 8],
        'model.head.decoder.bandwidth': [3.0, 10.0, 30.0],
    },
)
