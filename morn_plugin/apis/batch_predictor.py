"""Prediction of images that another program provides, such as Ray Data."""

from pathlib import Path
from typing import Any

import numpy as np

from ..deploy.labels import shorten_record
from ..utils.strict_json import dump_json
from .inferencer import MultiLabelInferencer


class BatchPredictor:
    """Predicts tables of images with a :class:`MultiLabelInferencer`.

    Args:
        model: A work folder or a checkpoint.
        column: Name of the column with paths or bytes of the images.
        all_scores: Keep the scores of all labels and steps, not only of the predicted labels.
        batch_size: Images per batch of the model.
        thr: See :meth:`MultiLabelInferencer.predict`.
        topk: As there.
        **options: Those of :class:`MultiLabelInferencer`, such as ``device``.

    Example:
        ``ray.data.read_parquet('paths').map_batches(BatchPredictor, fn_constructor_args=[model])``
    """

    def __init__(
        self,
        model: str | Path,
        column: str = 'img_path',
        all_scores: bool = False,
        batch_size: int = 32,
        thr: Any = None,
        topk: int | None = None,
        **options: Any,
    ) -> None:
        self.inferencer = MultiLabelInferencer(model, **options)
        self.column = column
        self.all_scores = all_scores
        self.options = dict(batch_size=batch_size, thr=thr, topk=topk)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predict the rows of a table.

        Args:
            batch: Columns by name, each (N,).

        Returns:
            The same columns plus ``record``, the JSON of each image as in ``tools/predict.py``; an
            image that cannot be read has ``error``.
        """
        records = self.inferencer.predict(iter(batch[self.column].tolist()), **self.options)
        texts = [
            dump_json(record if self.all_scores or 'error' in record else shorten_record(record))
            for record in records
        ]
        return dict(batch, record=np.array(texts, dtype=object))
