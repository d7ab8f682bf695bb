# The same classifier without the critic: what the critic brings is the difference.
_base_ = './wgan-gp_features_1xb32-20e_openclipart.py'

model = dict(head=dict(decoder=dict(adversarial_weight=0)))
default_hooks = dict(
    paper_table=dict(rows=dict(_delete_=True, **{'CNN': 'cnn/', 'WGAN-gp without its critic': ''}))
)
benchmark = dict(title='WGAN-gp without its critic')
