"""Randomness that depends on where training stands, and on nothing before."""

import itertools
from typing import Any

from mmengine.dist import broadcast_object_list, get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from mmpretrain.registry import HOOKS

from ...datasets.samplers import SeededSampler, seed_all


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes a resumed run end with the very weights of one that was never interrupted.

    Before every iteration all generators are seeded from (seed, iteration, rank), so that no state
    of theirs has to be saved or restored; :class:`SeededSampler` does the same for the data, and is
    put at the right position here, also in the middle of an epoch. All that is left to a checkpoint
    is what MMEngine saves: weights, optimizer, schedulers, averages, message hub. Goes with
    :class:`ResumableCheckpointHook`.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Put the sampler at the position of the run."""
        # A run without a seed in its config draws one; resumed, it goes on with that of the
        # checkpoint, which MMEngine reads only after it has built the sampler.
        seeds = [runner.seed]
        broadcast_object_list(seeds)
        self.seed = seeds[0]
        loop = runner.train_loop
        sampler = getattr(loop.dataloader.batch_sampler, 'sampler', loop.dataloader.sampler)
        if isinstance(sampler, SeededSampler):
            self._place(runner, loop, sampler)
        else:
            runner.logger.warning(
                'Resuming this run will not be exact: its train_dataloader has a '
                f"{type(sampler).__name__}. Give it sampler=dict(type='SeededSampler', "
                'shuffle=True).'
            )
        accumulate = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        if accumulate > 1:
            runner.logger.warning(
                f'Gradients of accumulative_counts={accumulate} iterations are summed, and not '
                'saved: resuming is exact from checkpoints at multiples of it only.'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed all generators for this iteration."""
        seed_all(self.seed, runner.iter, get_rank())

    def _place(self, runner: Runner, loop: Any, sampler: SeededSampler) -> None:
        sampler.seed = self.seed
        batch_size = loop.dataloader.batch_size or 1
        if isinstance(loop, IterBasedTrainLoop):
            sampler.start_at(loop.iter * batch_size, infinite=True)
            # The loop's own iterator has begun to load from the start. It takes `iter` batches off
            # the new one unseen.
            iterator = _InfiniteDataloaderIterator(loop.dataloader)
            loop.dataloader_iterator = itertools.chain(itertools.repeat(None, loop.iter), iterator)
        elif isinstance(loop, EpochBasedTrainLoop):
            done = loop.iter - loop.epoch * len(loop.dataloader)
            if not 0 <= done <= len(loop.dataloader):
                raise ValueError(
                    f'The checkpoint is at epoch {loop.epoch} and iteration {loop.iter}, but an '
                    f'epoch has {len(loop.dataloader)} iterations here: expected the data, batch '
                    'size and number of processes to be those of the interrupted run.'
                )
            sampler.start_at(done * batch_size)
