"""Provides cached inputs and the training set to a label decoder and a loss."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...datasets.annotations import training_targets
from ...datasets.cached import ScoreDataset
from ...datasets.wrapping import innermost_built
from ..distributed import unwrap
from ..training_inputs import read_training_inputs


@HOOKS.register_module()
class PrepareDecoderHook(Hook):
    """Tells cached data sets the decoder's inputs, and calls :meth:`LabelDecoder.prepare`.

    ``prepare`` is called before training, if the decoder asks for it, and on the classifier's loss,
    if it has the method: a loss may weight labels by their frequency. The values are computed in
    every run; equal annotations give equal values. If a checkpoint has different values
    (fine-tuning on other data, or changed annotations of a resumed run), the log says so.
    """

    def before_run(self, runner: Runner) -> None:
        """Tell cached data sets the inputs of the head."""
        inputs = getattr(getattr(unwrap(runner.model), 'head', None), 'inputs', ())
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
            for part in innermost_built(dataset):
                if isinstance(part, ScoreDataset):
                    part.use_inputs(inputs)

    def before_train(self, runner: Runner) -> None:
        """Prepare decoder and loss."""
        head = getattr(unwrap(runner.model), 'head', None)
        for part in (getattr(head, 'decoder', None), getattr(head, 'loss_cnn', None)):
            if asks_for_training_labels(part):
                self._prepare(runner, part)

    def _prepare(self, runner: Runner, part: Any) -> None:
        before = {name: buffer.clone() for name, buffer in part.named_buffers()}
        class_names, targets = training_targets(runner.train_dataloader.dataset)
        wanted = getattr(part, 'prepares_from', ())
        arrays = read_training_inputs(runner, wanted) if wanted else {}
        part.prepare(class_names, targets, **arrays)

        loaded = runner._resume or runner._load_from is not None
        changed = [
            name
            for name, buffer in part.named_buffers()
            if name not in before or not _equal(buffer, before[name])
        ]
        if changed and loaded:
            runner.logger.info(
                f'{type(part).__name__} took {", ".join(changed)} from the training '
                'annotations; the checkpoint had none, or others.'
            )


def asks_for_training_labels(part: Any) -> bool:
    """Return whether a decoder or a loss (or None) is prepared from the training set."""
    return bool(getattr(part, 'needs_training_labels', hasattr(part, 'prepare')))


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other.to(one.device))
