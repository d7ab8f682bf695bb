"""timm's elementwise losses by config."""

import pytest
import timm.loss
import torch
from mmpretrain.registry import MODELS

from morn_plugin.models.losses import label_loss
from morn_plugin.models.losses.timm_losses import ELEMENTWISE, timm_loss_class

OPTIONS = {name: {} for name in ELEMENTWISE}
OPTIONS['DistributionBalancedLoss'] = dict(class_counts=[1, 2, 3], num_samples=9)


@pytest.mark.parametrize('name', ELEMENTWISE)
def test_it_is_timms_sum_over_labels_with_ignored_ones_left_out(name):
    torch.manual_seed(0)
    logits = torch.randn(4, 3)
    target = torch.randint(2, (4, 3)).float()
    module = MODELS.build(dict(type='TimmLoss', name=name, loss_weight=2.0, **OPTIONS[name]))
    theirs = getattr(timm.loss, name)(reduction='none', **OPTIONS[name])
    values = theirs(logits, target)
    torch.testing.assert_close(label_loss(module, logits, target), 2 * values.sum() / 4)

    ignored = target == 0
    ignored[1:] = False
    kept = label_loss(module, logits, target.masked_fill(ignored, -1))
    torch.testing.assert_close(kept, 2 * values[~ignored].sum() / 4)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="`name` to be one of 'AsymmetricLossMultiLabel'"):
        MODELS.build(dict(type='TimmLoss', name='JsdCrossEntropy'))


def test_an_older_timm_is_refused(monkeypatch):
    monkeypatch.delattr(timm.loss, 'ZlprLoss')
    with pytest.raises(ImportError, match=r'has no loss ZlprLoss, which came with timm 1\.0\.31'):
        timm_loss_class('ZlprLoss')
