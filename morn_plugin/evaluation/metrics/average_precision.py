"""Mean average precision over labels."""

from mmpretrain.registry import METRICS

from ...utils.checks import check_choice
from ..functional import TIES, UNDEFINED, mean_average_precision
from .image_metric import ScoreMetric


@METRICS.register_module()
class MeanAveragePrecision(ScoreMetric):
    """Mean over labels of the average precision (mAP), computed by scikit-learn.

    It has the key of MMPretrain's ``AveragePrecision`` and differs in three points: images of equal
    score are ranked together, so the figure does not depend on their order (there it does, and on
    the device); a label whose images are all ignored does not fail; and it can measure the scores
    of the CNN alone. Without ties both give the same figure.

    Key: ``multi-label/mAP`` in percent.

    Args:
        undefined: A label without true images counts as ``'zero'``, as ``'one'``, or is left out
            (``'skip'``).
        envelope: Interpolate: the precision at a recall is the highest at this recall or above.
        ties: ``'together'``, or ``'apart'``: in the order of the images.
        item: ``'pred_score'``, or ``'cnn_score'`` for the CNN alone.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: Replaces the default prefix of the key.

    Examples:
        >>> import torch
        >>> metric = MeanAveragePrecision()
        >>> sample = dict(pred_score=torch.tensor([0.9, 0.2]), gt_label=torch.tensor([0]))
        >>> metric.process(None, [sample])
        >>> metric.evaluate(size=1)
        {'multi-label/mAP': 50.0}
    """

    default_prefix = 'multi-label'

    def __init__(
        self,
        undefined: str = 'zero',
        envelope: bool = False,
        ties: str = 'together',
        item: str = 'pred_score',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        check_choice('undefined', undefined, UNDEFINED)
        check_choice('ties', ties, TIES)
        super().__init__(item, collect_device, prefix)
        self.undefined = undefined
        self.envelope = envelope
        self.ties = ties

    def figures(self, results: list[bytes]) -> dict[str, float]:
        """Rank the images of each label."""
        scores, targets = self.unpack(results)
        value = mean_average_precision(scores, targets, self.undefined, self.envelope, self.ties)
        return {'mAP': value}
