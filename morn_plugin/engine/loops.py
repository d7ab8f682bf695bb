"""Loops."""

from typing import Any

from mmengine.runner import EpochBasedTrainLoop
from mmpretrain.registry import LOOPS


@LOOPS.register_module()
class PrepareLoop(EpochBasedTrainLoop):
    """A training loop without iterations, for methods fitted only by ``prepare``.

    It is one epoch: the hooks prepare the decoder, the checkpoint is written and validated.

    Args:
        *args: Those of ``EpochBasedTrainLoop``; ``max_epochs`` is 1.
        **kwargs: The same.
    """

    def __init__(
        self,
        *args: Any,
        max_epochs: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, max_epochs=max_epochs, **kwargs)

    def run_epoch(self) -> None:
        """Run the epoch, which has no iterations."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
