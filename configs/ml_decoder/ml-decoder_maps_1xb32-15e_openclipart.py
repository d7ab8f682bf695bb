# ML-Decoder on cached maps of Open Clip Art: tools/extract_scores.py ... --feature-map
_base_ = [
    '../_base_/models/cached.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/map_adamw_15e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(
        num_classes=72,
        decoder=dict(
            type='MLDecoder',
            in_channels=1280,
            embed_dims=256,
            loss=dict(
                type='TimmLoss',
                name='AsymmetricLossMultiLabel',
                gamma_neg=4,
                gamma_pos=0,
                disable_torch_grad_focal_loss=True,
            ),
        ),
    )
)
benchmark = dict(title='ML-Decoder', groups=['attention'])
