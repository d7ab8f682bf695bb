"""The fields of a prediction, and their names in each representation.

These are a data sample (and a decoder's ``predict``), the records that ``predict`` writes and an
exported model returns, and the arrays of a prediction set.
"""

from typing import NamedTuple


class PredictionField(NamedTuple):
    """One field.

    Attributes:
        sample: Its name in a ``DataSample`` and in what ``LabelDecoder.predict`` returns.
        record: Its name in the record of an image (JSON, CSV).
        array: Its name in a ``PredictionSet``, and as the output of an exported model.
    """

    sample: str
    record: str
    array: str


SCORES = PredictionField('pred_score', 'scores', 'scores')  # (C,), 0-1
CNN_SCORES = PredictionField('cnn_score', 'cnn_scores', 'cnn_scores')  # (C,), 0-1
STEP_SCORES = PredictionField('step_scores', 'step_scores', 'step_scores')  # (T, C), 0-1
STEP_LABELS = PredictionField('step_labels', 'path', 'step_labels')  # (T,), -1 after the end

#: Every field; only the scores are in all predictions.
PREDICTION_FIELDS = (SCORES, CNN_SCORES, STEP_SCORES, STEP_LABELS)

#: A further output of an exported model whose decision rule looks at the image: (N, C), True where
#: a label is predicted.
CHOSEN = 'labels'
