"""WGAN-gp: a classifier whose label sets a critic cannot tell from true ones.

Tsai, Lee, "Adversarial Learning of Label Dependency: A Novel Framework for Multi-class
Classification", ICASSP 2019. The critic and the losses of both sides are in
:mod:`morn_plugin.models.losses.label_critic`.

N images, D features, C labels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...utils.checks import check_choice, check_positive
from ..decisions.quantity import mlp
from ..losses.label_critic import LabelCritic, generator_loss
from ..losses.label_loss import label_loss
from .base import LabelDecoder
from .critic_trainer import CriticTrainer

GENERATORS = ('own', 'cnn')


class AdversarialClassifier(LabelDecoder):
    """A classifier that learns by cross-entropy, and by what a critic takes for a true label set.

    In each iteration the critic makes its steps first, then the classifier's loss is computed
    against it. The critic goes with the model's training mode: in evaluation it stays as it is.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the features D, which the critic sees and, unless it is the CNN's,
            the classifier.
        generator: ``'own'`` (default), a classifier on the features; or ``'cnn'``, the CNN's own
            classifier, whose cross-entropy is the head's ``loss_cnn``: the joint form, with
            ``detach_scores=False``.
        adversarial_weight: Of the critic's opinion, where cross-entropy is averaged over labels.
            Defaults to 0.1, the authors' code (which has 10 times the cross-entropy instead). 0
            leaves the critic out, which shows what it brings.
        hidden_dims: Widths of the layers before the last of an own classifier, ReLU after each.
            Defaults to none, a linear classifier.
        critic: Options of :class:`LabelCritic`. Defaults to None, the authors' sizes.
        training: Options of :class:`CriticTrainer`. Defaults to None: Adam at 1e-3, two steps of
            the critic for one of the classifier, the textbook's penalty.

    Raises:
        ValueError: If an option is out of its range.
    """

    display_name = 'WGAN-gp'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        generator: str = 'own',
        adversarial_weight: float = 0.1,
        hidden_dims: Sequence[int] = (),
        critic: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
    ) -> None:
        check_choice('generator', generator, GENERATORS)
        self.inputs = ('features',) if generator == 'own' else ('logits', 'features')
        super().__init__(num_classes)
        check_positive(in_channels=in_channels)
        if adversarial_weight < 0:
            raise ValueError(
                f'Expected `adversarial_weight` to be 0 or more, but got {adversarial_weight!r}.'
            )
        self.in_channels, self.adversarial_weight = in_channels, adversarial_weight
        self.classifier = mlp(in_channels, hidden_dims, num_classes) if generator == 'own' else None
        self.trainer = None
        if adversarial_weight > 0:
            built = LabelCritic(num_classes, in_channels, **(critic or {}))
            self.trainer = CriticTrainer(built, **(training or {}))

    def logits(self, *args: Any, **inputs: Any) -> Tensor:
        """Map what ``inputs`` names to logits (N, C)."""
        named = dict(zip(self.inputs, args, strict=False)) | inputs
        self.check_features(named['features'], self.in_channels)
        return named['logits'] if self.classifier is None else self.classifier(named['features'])

    def loss(self, *, target: Tensor, **inputs: Any) -> dict[str, Tensor]:
        """Compute ``loss_labels`` of an own classifier, and ``loss_adversarial``.

        The first is the cross-entropy, summed over labels and averaged over images, which puts the
        factor C before the second. The critic has learnt from this batch before.
        """
        logits = self.logits(**inputs)
        self.check_target(target, len(logits))
        losses = {}
        if self.classifier is not None:
            losses['loss_labels'] = label_loss(nn.BCEWithLogitsLoss(), logits, target)
        if self.trainer is None:
            return losses

        features = inputs['features'].detach().float()  # no way to please the critic by features
        with torch.autocast(features.device.type, enabled=False):
            scores = logits.float().sigmoid()
            if self.training and torch.is_grad_enabled():
                self.trainer.train_critic(features, target, scores)
            # What is ignored follows no opinion.
            seen = torch.where(target < 0, scores.detach(), scores)
            opinion = generator_loss(self.trainer, features, seen)
        losses['loss_adversarial'] = self.adversarial_weight * self.num_classes * opinion
        return losses

    def predict(self, *args: Any, **inputs: Any) -> dict[str, Tensor]:
        """Predict ``pred_score`` (N, C), 0-1."""
        return dict(pred_score=self.logits(*args, **inputs).sigmoid())
