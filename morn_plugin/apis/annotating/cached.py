"""Runs a decoder over cached scores of a side."""

from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

BATCH = 512


def predict_cached(model: torch.nn.Module, dataset: Dataset) -> np.ndarray:
    """Return the scores (N, C) of a decoder.

    Args:
        model: In evaluation mode.
        dataset: A :class:`ScoreDataset` in test mode, of N images.
    """
    batches: Any = DataLoader(dataset, batch_size=BATCH, collate_fn=lambda batch: batch)
    scores = []
    with torch.no_grad():
        for batch in batches:
            samples = model(batch['inputs'], data_samples=batch['data_samples'], mode='predict')
            scores += [sample.pred_score for sample in samples]
    return torch.stack(scores).numpy()
