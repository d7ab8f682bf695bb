"""A decoder that is worse than its own CNN is named, with the likely cure."""

from collections.abc import Sequence

import pytest
from mmengine.logging import MessageHub

from morn_plugin.apis.cnn_comparison import compare_with_cnn

FALLING = [4.0, 3.0, 2.0, 1.0]
FLAT = [4.0, 1.0, 1.0, 1.0]


def make_hub(losses: Sequence[float] = (), **figures: tuple[float, float]) -> MessageHub:
    hub = MessageHub('comparison')
    for name, pair in figures.items():
        prefix = 'val/' + {'decoder': '', 'cnn': 'cnn/', 'calibrated': 'cnn-calibrated/'}[name]
        for kind, value in zip(('per-label', 'per-image'), pair, strict=True):
            hub.update_scalar(f'{prefix}{kind}/f1-score', value)
    for loss in losses:
        hub.update_scalar('train/loss', loss)
    return hub


@pytest.mark.parametrize(
    ('losses', 'cure'), [(FALLING, 'more epochs or at a higher'), (FLAT, 'another learning rate')]
)
def test_below(losses, cure):
    hub = make_hub(losses, decoder=(31.9, 36.0), cnn=(46.7, 46.4), calibrated=(54.3, 56.5))
    said = compare_with_cnn(hub)
    assert said is not None
    assert 'F1_L / F1_I 31.9 / 36.0, and the CNN alone 46.7 / 46.4, 54.3 / 56.5 with' in said
    assert cure in said


@pytest.mark.parametrize(
    'figures',
    [
        dict(decoder=(50.0, 36.0), cnn=(46.7, 46.4)),  # better at one of the two
        dict(decoder=(46.7, 46.4), cnn=(46.7, 46.4)),
        dict(decoder=(10.0, 10.0)),  # no CNN
        dict(cnn=(46.7, 46.4)),
        dict(),
    ],
)
def test_nothing_to_say(figures):
    assert compare_with_cnn(make_hub(FALLING, **figures)) is None


def test_the_last_validation_counts():
    hub = make_hub(decoder=(10.0, 10.0), cnn=(20.0, 20.0))
    hub.update_scalar('val/per-label/f1-score', 30.0)
    assert compare_with_cnn(hub) is None
