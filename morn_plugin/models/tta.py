"""Test-time augmentation."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from .heads.label_decoder_head import select_labels


@MODELS.register_module()
class AverageScoresTTA(BaseTTAModel):
    """Averages every kind of score over the augmented views, and decides the labels anew.

    A decoder without a threshold decides once more, from the CNN's averaged probabilities.
    """

    SCORES = ('pred_score', 'cnn_score', 'step_scores')

    def merge_preds(self, data_samples_list: Sequence[Sequence[DataSample]]) -> list[DataSample]:
        """Merge the views of every image."""
        return [self._merge(views) for views in data_samples_list]

    def _merge(self, views: Sequence[DataSample]) -> DataSample:
        head = self.module.head
        decoder = getattr(head, 'decoder', None)
        if decoder is not None and not decoder.has_threshold:
            mean = torch.stack([view.cnn_score for view in views]).mean(0)
            return head.predict_scores(mean[None], [views[0].clone()])[0]
        merged = views[0].clone()
        for name in self.SCORES:
            if name in merged:
                merged.set_field(torch.stack([view.get(name) for view in views]).mean(0), name)
        merged.pop('step_labels', None)
        chosen = select_labels(merged.pred_score[None], head.thr, head.topk)[0]
        return merged.set_pred_label(chosen.nonzero()[:, 0])
