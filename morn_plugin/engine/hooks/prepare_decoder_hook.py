"""Hands a label decoder what it sees of the data: cached inputs, and the training set."""

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
    """Tells cached data sets what the decoder sees, and calls :meth:`LabelDecoder.prepare`.

    ``prepare`` is called before training, where the decoder asks for it. What the decoder takes is
    computed anew in every run, and equal where the annotations are. A checkpoint that says
    otherwise (fine-tuning on other data, or the annotations of a resumed run changed) is named in
    the log.
    """

    def before_run(self, runner: Runner) -> None:
        """Let the batches of cached data sets hold what the head sees."""
        inputs = getattr(getattr(unwrap(runner.model), 'head', None), 'inputs', ())
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
            for part in innermost_built(dataset):
                if isinstance(part, ScoreDataset):
                    part.use_inputs(inputs)

    def before_train(self, runner: Runner) -> None:
        """Prepare the decoder."""
        model = unwrap(runner.model)
        decoder: Any = getattr(getattr(model, 'head', None), 'decoder', None)
        if decoder is None or not decoder.needs_training_labels:
            return

        before = {name: buffer.clone() for name, buffer in decoder.named_buffers()}
        class_names, targets = training_targets(runner.train_dataloader.dataset)
        wanted = getattr(decoder, 'prepares_from', ())
        arrays = read_training_inputs(runner, wanted) if wanted else {}
        decoder.prepare(class_names, targets, **arrays)

        loaded = runner._resume or runner._load_from is not None
        changed = [
            name
            for name, buffer in decoder.named_buffers()
            if name not in before or not _equal(buffer, before[name])
        ]
        if changed and loaded:
            runner.logger.info(
                f'{type(decoder).__name__} took {", ".join(changed)} from the training '
                'annotations; the checkpoint had none, or others.'
            )


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other.to(one.device))
