"""S-Cls with a window teacher: a plain classifier learns from labels and a detector's scores.

Liu, Sheng, Shao, Yan, Xiang, Pan, "Multi-Label Image Classification via Knowledge Distillation from
Weakly-Supervised Detection", ACM MM 2018. This is the second stage of its distillation. The teacher
is :class:`WindowDetector`, since the paper's teacher needs object proposals.

N images, C labels, D features.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.checks import check_choice, check_positive
from ..losses.label_loss import label_loss
from .base import LabelDecoder
from .window_detector import WindowDetector

STUDENTS = ('own', 'cnn')
TRAIN = ('teacher', 'student', 'both')


def distillation_loss(logits: Tensor, teacher_scores: Tensor, target: Tensor) -> Tensor:
    """Compute the cross-entropy of a student's logits against a teacher's scores.

    Args:
        logits: (N, C).
        teacher_scores: (N, C), 0-1; no gradient passes to them.
        target: (N, C); where it is -1 (ignored), the teacher is ignored too.

    Returns:
        Scalar, summed over labels and averaged over images.
    """
    losses = F.binary_cross_entropy_with_logits(logits, teacher_scores.detach(), reduction='none')
    return torch.where(target >= 0, losses, 0).sum() / len(logits)


class DistilledClassifier(LabelDecoder):
    """A classifier on pooled features that learns from the labels and a detector on the map.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of features and map D.
        student: ``'own'`` (default), a linear classifier on the features; or ``'cnn'``, the CNN's
            own classifier, whose cross-entropy is the head's ``loss_cnn``: joint training, with
            ``detach_scores=False``.
        train: What is trained: ``'teacher'`` (first), ``'student'`` (second, from the teacher's
            checkpoint; the teacher is then fixed), or ``'both'`` together (default).
        teacher: Options of :class:`WindowDetector`. Defaults to None, its defaults.
        scale: Initial value of the learnt factor of the student's logits in the comparison with the
            teacher's scores. Defaults to 0.2, a temperature of 5.

    Raises:
        ValueError: If an option is out of its range.
    """

    display_name = 'S-Cls, window teacher'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        student: str = 'own',
        train: str = 'both',
        teacher: dict[str, Any] | None = None,
        scale: float = 0.2,
    ) -> None:
        check_choice('student', student, STUDENTS)
        check_choice('train', train, TRAIN)
        first = 'features' if student == 'own' else 'logits'
        self.inputs = (first, 'feature_map')
        super().__init__(num_classes)
        check_positive(in_channels=in_channels)
        self.in_channels = in_channels
        self.learns = train
        self.teacher = WindowDetector(num_classes, in_channels, **(teacher or {}))
        self.classifier = nn.Linear(in_channels, num_classes) if student == 'own' else None
        self.scale = nn.Parameter(torch.tensor(float(scale)))

        if train == 'teacher':
            self.display_name = 'Window teacher'
            self.requires_grad_(False)
            self.teacher.requires_grad_(True)

        if train == 'student':
            self.teacher.requires_grad_(False)

    def logits(self, *, feature_map: Tensor | None = None, **inputs: Tensor) -> Tensor:
        """Return the student's logits (N, C), which do not use the map."""
        if self.classifier is None:
            return inputs['logits']
        self.check_features(inputs['features'], self.in_channels)
        return self.classifier(inputs['features'])

    def loss(
        self,
        *,
        feature_map: Tensor,
        target: Tensor,
        **inputs: Tensor,
    ) -> dict[str, Tensor]:
        """Compute ``loss_detector`` of the teacher, ``loss_labels`` and ``loss_teacher``."""
        losses: dict[str, Tensor] = {}
        if self.learns != 'student':
            losses |= self.teacher.loss(feature_map=feature_map, target=target)
        if self.learns == 'teacher':
            return losses

        logits = self.logits(**inputs)
        self.check_target(target, len(logits))
        with torch.no_grad():
            taught = self.teacher.predict(feature_map)['pred_score']
        losses['loss_teacher'] = distillation_loss(self.scale * logits, taught, target)
        if self.classifier is not None:
            losses['loss_labels'] = label_loss(nn.BCEWithLogitsLoss(), logits, target)
        return losses

    def predict(self, *, feature_map: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """Predict ``pred_score`` (N, C) by the student, or by the teacher if only it is trained."""
        if self.learns == 'teacher':
            return self.teacher.predict(feature_map)
        self.check_feature_map(feature_map, self.in_channels)
        return dict(pred_score=self.logits(**inputs).sigmoid())
