"""Models: label decoders, heads, losses and classifiers.

A module in ``label_decoders`` with a subclass of ``LabelDecoder`` is registered automatically. The
same holds for decision rules in ``decisions``.
"""

from mmpretrain.registry import MODELS

from .backbones import TIMMStages
from .classifiers import FourViewClassifier, MultiLabelClassifier, ScoreClassifier
from .decisions import find_decisions
from .heads import DecisionHead, LabelDecoderHead, MultiOrderLSTMHead
from .label_decoders import (
    LabelDecoder,
    LabelSequenceLSTM,
    MultiOrderLSTM,
    decoder_from_release,
    find_decoders,
)
from .losses import MaskedStepwiseBCELoss, masked_stepwise_bce
from .necks import ChannelLastPooling, TokenPooling
from .tta import AverageScoresTTA

for _part in (*find_decoders(), *find_decisions()):  # their modules do not import the registry
    MODELS.register_module(module=_part)

__all__ = [
    'AverageScoresTTA',
    'ChannelLastPooling',
    'DecisionHead',
    'FourViewClassifier',
    'LabelDecoder',
    'LabelDecoderHead',
    'LabelSequenceLSTM',
    'MaskedStepwiseBCELoss',
    'MultiLabelClassifier',
    'MultiOrderLSTM',
    'MultiOrderLSTMHead',
    'ScoreClassifier',
    'TIMMStages',
    'TokenPooling',
    'decoder_from_release',
    'masked_stepwise_bce',
]
