"""Four methods as a user would write them in a file of their own; custom_imports registers them."""

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import nn

from morn_plugin.models import LabelDecoder


@MODELS.register_module()
class LinearFeatures(LabelDecoder):
    """No steps, on features."""

    inputs = ('features',)
    display_name = 'Linear features'

    def __init__(self, num_classes, in_channels):
        super().__init__(num_classes)
        self.fc = nn.Linear(in_channels, num_classes)

    def loss(self, features, target):
        loss = F.binary_cross_entropy_with_logits(self.fc(features), target, reduction='sum')
        return dict(loss_linear=loss / len(target))

    def predict(self, features):
        return dict(pred_score=self.fc(features).sigmoid())


@MODELS.register_module()
class PeakOfMap(LabelDecoder):
    """On the feature map: each label takes its best place."""

    inputs = ('feature_map',)

    def __init__(self, num_classes, in_channels):
        super().__init__(num_classes)
        self.conv = nn.Conv2d(in_channels, num_classes, 1)

    def loss(self, feature_map, target):
        logits = self.conv(feature_map).amax((2, 3))
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction='sum')
        return dict(loss_peak=loss / len(target))

    def predict(self, feature_map):
        return dict(pred_score=self.conv(feature_map).amax((2, 3)).sigmoid())


@MODELS.register_module()
class NearestImage(LabelDecoder):
    """With a memory: the labels of the nearest training image, and the CNN's scores."""

    inputs = ('scores', 'features')
    prepares_from = ('features',)

    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.register_buffer('memory', torch.empty(0))
        self.register_buffer('truth', torch.empty(0))
        self.weight = nn.Parameter(torch.tensor(0.0))

    def prepare(self, class_names, targets, features):
        device = self.weight.device
        self.memory = torch.from_numpy(features).to(device)
        self.truth = torch.from_numpy(targets).float().clamp(min=0).to(device)

    def loss(self, scores, features, target):
        score = self.predict(scores, features)['pred_score']
        loss = F.binary_cross_entropy(score.clamp(1e-6, 1 - 1e-6), target, reduction='sum')
        return dict(loss_nearest=loss / len(target))

    def predict(self, scores, features):
        squared = (features[:, None] - self.memory).square().sum(2)
        nearest = squared.argmin(1)
        share = self.weight.sigmoid()
        return dict(pred_score=share * scores + (1 - share) * self.truth[nearest])


@MODELS.register_module()
class SquaredError(nn.Module):
    """A loss: one value a label."""

    def forward(self, logits, target):
        return (logits.sigmoid() - target) ** 2
