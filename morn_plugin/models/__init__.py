"""Models: label decoders, heads, losses and classifiers."""

from mmpretrain.registry import MODELS

from .classifiers import MultiLabelClassifier, ScoreClassifier
from .heads import LabelDecoderHead, MultiOrderLSTMHead
from .label_decoders import LabelDecoder, LabelSequenceLSTM, MultiOrderLSTM, decoder_from_release
from .losses import MaskedStepwiseBCELoss, masked_stepwise_bce
from .necks import ChannelLastPooling, TokenPooling
from .tta import AverageScoresTTA

for _decoder in (LabelSequenceLSTM, MultiOrderLSTM):  # decoders know nothing of the registry
    MODELS.register_module(module=_decoder)

__all__ = [
    'AverageScoresTTA',
    'ChannelLastPooling',
    'LabelDecoder',
    'LabelDecoderHead',
    'LabelSequenceLSTM',
    'MaskedStepwiseBCELoss',
    'MultiLabelClassifier',
    'MultiOrderLSTM',
    'MultiOrderLSTMHead',
    'ScoreClassifier',
    'TokenPooling',
    'decoder_from_release',
    'masked_stepwise_bce',
]
