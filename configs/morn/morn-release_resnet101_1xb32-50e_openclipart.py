# The authors' release, row by row of what differs from the paper.
_base_ = './morn_resnet101_1xb32-50e_openclipart.py'

model = dict(
    head=dict(
        loss=dict(mask='cumulative', steps='num_labels'),
        test_feedback='unpicked',
        picked_logit=-9.0,
        state_norm=dict(eps=1e-3, momentum=0.05),
        init_state='tanh',
        output_layer='mlp',
        forget_bias=1.0,
        sparse_embedding=True,
    )
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='TFRMSprop', lr=1e-4, alpha=0.9, momentum=0.9, eps=1.0)
)
