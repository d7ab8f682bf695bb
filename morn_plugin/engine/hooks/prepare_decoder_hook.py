"""Hands the training annotations to a label decoder that needs them."""

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...datasets.annotations import training_targets


@HOOKS.register_module()
class PrepareDecoderHook(Hook):
    """Calls :meth:`LabelDecoder.prepare` before training, where the decoder asks for it.

    What the decoder takes is computed anew in every run, and equal where the annotations are. A
    checkpoint that says otherwise (fine-tuning on other data, or the annotations of a resumed run
    changed) is named in the log.
    """

    def before_train(self, runner: Runner) -> None:
        """Prepare the decoder."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        decoder = getattr(getattr(model, 'head', None), 'decoder', None)
        if decoder is None or not decoder.needs_training_labels:
            return
        before = {name: buffer.clone() for name, buffer in decoder.named_buffers()}
        loaded = runner._resume or runner._load_from is not None
        decoder.prepare(*training_targets(runner.train_dataloader.dataset))
        changed = [
            name
            for name, buffer in decoder.named_buffers()
            if not torch.equal(buffer, before[name])
        ]
        if changed and loaded:
            runner.logger.info(
                f'{type(decoder).__name__} took {", ".join(changed)} from the training '
                'annotations; the checkpoint had none, or others.'
            )
