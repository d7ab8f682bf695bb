"""Test-time augmentation."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from ..utils.fields import CNN_SCORES, SCORES, STEP_LABELS, STEP_SCORES
from .decisions import select_labels
from .heads.decision_head import DecisionHead


@MODELS.register_module()
class AverageScoresTTA(BaseTTAModel):
    """Averages every kind of score over the augmented views, then decides the labels again.

    A decoder without a threshold whose only input is the CNN's probabilities decides again from
    their average. For other decoders without a threshold, and for decision rules that depend on the
    image, the labels predicted in most views are used.
    """

    def merge_preds(self, data_samples_list: Sequence[Sequence[DataSample]]) -> list[DataSample]:
        """Merge the views of every image."""
        return [self._merge(views) for views in data_samples_list]

    def _merge(self, views: Sequence[DataSample]) -> DataSample:
        head = self.module.head
        decides_itself = not getattr(head, 'has_threshold', True)
        if decides_itself and tuple(head.inputs) == ('scores',):
            mean = _average(views, CNN_SCORES.sample)
            return head.predict_scores(mean[None], [views[0].clone()])[0]

        merged = views[0].clone()
        for field in (SCORES, CNN_SCORES, STEP_SCORES):
            if field.sample in merged:
                merged.set_field(_average(views, field.sample), field.sample)

        merged.pop(STEP_LABELS.sample, None)

        rule = (
            head.plain_decision
            if isinstance(head, DecisionHead)
            else dict(thr=head.thr, topk=head.topk)
        )
        if rule is None:
            chosen = self._vote(views)
        else:
            chosen = select_labels(merged.pred_score[None], **rule)[0]

        return merged.set_pred_label(chosen.nonzero()[:, 0])

    def _vote(self, views: Sequence[DataSample]) -> Tensor:
        """Mark the labels (C,) that more than half of the views have."""
        votes = torch.zeros_like(views[0].pred_score)
        for view in views:
            votes[view.pred_label] += 1
        return votes > len(views) / 2


def _average(views: Sequence[DataSample], name: str) -> Tensor:
    return torch.stack([view.get(name) for view in views]).mean(0)
