"""Collects a label decoder's inputs over the whole training set, for methods that keep it.

N images, C labels, D features.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import default_collate
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from ..datasets.cached import ScoreDataset
from ..datasets.wrapping import (
    NumberedDataset,
    annotation_files,
    innermost,
    innermost_built,
    with_pipeline,
)
from .distributed import unwrap


def read_training_inputs(runner: Runner, names: Sequence[str]) -> dict[str, Any]:
    """Collect inputs of every training image, in the order of the data set.

    They come from the cached file if the runner trains on one. Otherwise the model runs once over
    the training images with the test pipeline, each image once, even with several processes.

    Args:
        runner: Its training data set and model.
        names: Inputs of :class:`LabelDecoder`.

    Returns:
        NumPy arrays (N, ...) by name, a tuple of them for ``stage_maps``.

    Raises:
        ScoreFileError: If the cached file lacks one.
        ValueError: If cached files are wrapped.
    """
    dataset = runner.train_dataloader.dataset
    if isinstance(dataset, ScoreDataset):
        return dataset.read_inputs(names)
    if any(isinstance(part, ScoreDataset) for part in innermost_built(dataset)):
        raise ValueError(
            f'Expected one cached file to train a method on that keeps the training set, but got '
            f'a {type(dataset).__name__} of {annotation_files(dataset)}. Extract the wrapped data '
            'set into one file: tools/extract_scores.py takes wrappers too.'
        )

    images = _test_view(runner)
    places = list(range(get_rank(), len(images), get_world_size()))
    rows = _run_model(runner, Subset(images, places), names)
    return {name: _in_order(rows[name], len(images)) for name in names}


def _test_view(runner: Runner) -> NumberedDataset:
    """Build the training set again with the test pipeline."""
    cfg = runner.cfg
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    pipeline = next(innermost(loader.dataset)).pipeline
    config = with_pipeline(cfg.train_dataloader.dataset, pipeline)
    return NumberedDataset(DATASETS.build(ConfigDict(config)))


def _run_model(
    runner: Runner,
    images: Subset,
    names: Sequence[str],
) -> dict[str, list]:
    """Run the model over this process's images; one list of rows per name."""
    model: Any = unwrap(runner.model)
    batches: Any = DataLoader(
        images,
        batch_size=runner.cfg.train_dataloader.batch_size,
        num_workers=runner.cfg.train_dataloader.get('num_workers', 0),
        collate_fn=default_collate,
    )
    bar = tqdm(batches, desc='Inputs of the training set', disable=not is_main_process())

    was_training = model.training
    model_kept = model.head.kept_inputs
    model.eval()
    model.keep_inputs(names)
    rows: dict[str, list] = {name: [] for name in names}

    try:
        with torch.no_grad():
            for batch in bar:
                data = model.data_preprocessor(batch, False)
                inputs = model.head.decoder_inputs(model.extract_feat(data['inputs']))
                for name in names:
                    rows[name].append(_to_numpy(inputs[name]))
    finally:
        model.head.kept_inputs = model_kept
        model.train(was_training)

    return rows


def _to_numpy(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_to_numpy(part) for part in value)
    return value.float().cpu().numpy()


def _in_order(batches: list, num_images: int) -> Any:
    """Join the batches of all processes: process r has the images r, r + R, r + 2R, ..."""
    if batches and isinstance(batches[0], tuple):
        stages = zip(*batches, strict=True)
        return tuple(_in_order(list(stage), num_images) for stage in stages)

    own = np.concatenate(batches) if batches else None
    parts = all_gather_object(own)
    shape = next(part.shape[1:] for part in parts if part is not None)
    joined = np.empty((num_images, *shape), dtype=np.float32)

    for rank, part in enumerate(parts):
        if part is not None:
            joined[rank :: len(parts)] = part

    return joined
