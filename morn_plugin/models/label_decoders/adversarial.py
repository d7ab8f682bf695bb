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
    """A classifier trained by cross-entropy and by a critic of label sets.

    In each iteration the critic trains first, then the classifier's loss is computed against it. In
    evaluation mode the critic does not train.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the features D, the input of the critic and of an own classifier.
        generator: ``'own'`` (default), a classifier on the features; or ``'cnn'``, the CNN's own
            classifier, whose cross-entropy is the head's ``loss_cnn``: joint training, with
            ``detach_scores=False``.
        adversarial_weight: Weight of the critic's score, relative to cross-entropy averaged over
            labels. Defaults to 0.1, as in the authors' code (which multiplies cross-entropy by 10
            instead). 0 removes the critic, as a control.
        hidden_dims: Widths of the hidden layers of an own classifier, with ReLU after each.
            Defaults to none, a linear classifier.
        critic: Options of :class:`LabelCritic`. Defaults to None, the authors' sizes.
        training: Options of :class:`CriticTrainer`. Defaults to None: Adam at 1e-3, two critic
            steps per classifier step, the textbook's penalty.

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

        self.in_channels = in_channels
        self.adversarial_weight = adversarial_weight
        self.classifier = mlp(in_channels, hidden_dims, num_classes) if generator == 'own' else None

        self.trainer = None
        if adversarial_weight > 0:
            built = LabelCritic(num_classes, in_channels, **(critic or {}))
            self.trainer = CriticTrainer(built, **(training or {}))

    def logits(self, *args: Any, **inputs: Any) -> Tensor:
        """Compute logits (N, C) from the ``inputs``."""
        named = dict(zip(self.inputs, args, strict=False)) | inputs
        self.check_features(named['features'], self.in_channels)
        return named['logits'] if self.classifier is None else self.classifier(named['features'])

    def loss(self, *, target: Tensor, **inputs: Any) -> dict[str, Tensor]:
        """Compute ``loss_labels`` of an own classifier, and ``loss_adversarial``.

        The first is cross-entropy, summed over labels and averaged over images, so the second is
        multiplied by C. The critic has already trained on this batch.
        """
        logits = self.logits(**inputs)
        self.check_target(target, len(logits))
        losses = {}
        if self.classifier is not None:
            losses['loss_labels'] = label_loss(nn.BCEWithLogitsLoss(), logits, target)
        if self.trainer is None:
            return losses

        features = inputs['features'].detach().float()  # the critic does not train them
        with torch.autocast(features.device.type, enabled=False):
            scores = logits.float().sigmoid()
            if self.training and torch.is_grad_enabled():
                self.trainer.train_critic(features, target, scores)
            # Ignored labels get no gradient from the critic.
            seen = torch.where(target < 0, scores.detach(), scores)
            opinion = generator_loss(self.trainer, features, seen)

        losses['loss_adversarial'] = self.adversarial_weight * self.num_classes * opinion
        return losses

    def predict(self, *args: Any, **inputs: Any) -> dict[str, Tensor]:
        """Predict ``pred_score`` (N, C), 0-1."""
        return dict(pred_score=self.logits(*args, **inputs).sigmoid())
