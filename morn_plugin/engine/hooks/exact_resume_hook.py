"""Makes randomness a function of the current training position."""

import itertools
from typing import Any

from mmengine.dist import broadcast_object_list, get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from mmpretrain.registry import HOOKS

from ...datasets.samplers import SeededSampler, seed_all
from ..position import KEY, Layout, Position, read_position


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes a resumed run end with exactly the weights of an uninterrupted one.

    Before every iteration all generators are seeded from (seed, iteration, rank), so no random
    state has to be saved or restored. :class:`SeededSampler` does the same for the data, and this
    hook sets its position, even in the middle of an epoch. The checkpoint stores the position with
    everything it depends on (:mod:`morn_plugin.engine.position`). The rest of the checkpoint is
    saved by MMEngine: weights, optimizer, schedulers, averages, message hub. Use it together with
    :class:`ResumableCheckpointHook`.

    Raises:
        ValueError: If the checkpoint is from inside an epoch, and this run divides its epochs
            differently: a different batch size, number of processes or data set.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._resumed: Position | None = None
        self._sampler: SeededSampler | None = None
        self._layout: Layout | None = None
        # The loop's place when `_seen` samples of the pass number `_passes` had been taken.
        self._iter = self._passes = self._seen = 0

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Read the position of a run that is resumed."""
        if runner._resume:
            self._resumed = read_position(checkpoint.get('meta') or {})

    def before_train(self, runner: Runner) -> None:
        """Put the sampler at the position of the run."""
        # A run without a seed in its config draws one. A resumed run takes the checkpoint's, which
        # MMEngine reads only after it has built the sampler.
        seeds = [runner.seed]
        broadcast_object_list(seeds)
        self.seed = seeds[0]

        loop = runner.train_loop
        batch_sampler = loop.dataloader.batch_sampler
        sampler = getattr(batch_sampler, 'sampler', loop.dataloader.sampler)
        is_placed = isinstance(loop, EpochBasedTrainLoop | IterBasedTrainLoop)
        has_batches = isinstance(getattr(batch_sampler, 'batch_size', None), int)

        if isinstance(sampler, SeededSampler) and has_batches and is_placed:
            self._place(runner, loop, sampler)
        else:
            runner.logger.warning(
                'Resuming this run will not be exact: its train_dataloader has a '
                f'{type(sampler).__name__} and a {type(batch_sampler).__name__} in a '
                f"{type(loop).__name__}. Give it sampler=dict(type='SeededSampler', shuffle=True)."
            )

        accumulate = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        if accumulate > 1:
            runner.logger.warning(
                f'Gradients of accumulative_counts={accumulate} iterations are summed, and not '
                'saved: resuming is exact from checkpoints at multiples of it only.'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Note where an epoch begins."""
        loop = runner.train_loop
        if isinstance(loop, EpochBasedTrainLoop) and loop.epoch != self._passes:
            self._passes = loop.epoch
            self._seen = 0
            self._iter = loop.iter

    def before_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
    ) -> None:
        """Seed all generators for this iteration."""
        seed_all(self.seed, runner.iter, get_rank())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the position to a checkpoint."""
        if self._layout is not None:
            position = self._position_at(runner, checkpoint['meta'])
            checkpoint['meta'][KEY] = position.to_meta()

    def _position_at(self, runner: Runner, meta: dict[str, Any]) -> Position:
        """Return the position after the iteration that a checkpoint's ``meta`` names."""
        assert self._layout is not None
        assert self._sampler is not None
        seen = self._seen + (meta['iter'] - self._iter) * self._layout.batch_size
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            passes, seen = divmod(seen, self._sampler.num_samples)
            return Position(self._passes + passes, seen, self._layout)

        is_of_this_epoch = meta['epoch'] == self._passes
        return Position(meta['epoch'], seen if is_of_this_epoch else 0, self._layout)

    def _place(
        self,
        runner: Runner,
        loop: Any,
        sampler: SeededSampler,
    ) -> None:
        sampler.seed = self.seed
        self._sampler = sampler
        self._layout = Layout.of(loop.dataloader, sampler)
        self._iter = loop.iter

        if loop.iter or loop.epoch:
            self._passes, self._seen = self._find_place(runner, loop)
        else:
            self._passes = self._seen = 0

        if isinstance(loop, EpochBasedTrainLoop):
            sampler.start_at(self._seen)
            return

        sampler.start_at(self._passes * sampler.num_samples + self._seen, infinite=True)
        # The loop's own iterator has begun to load from the start. It takes `iter` batches off the
        # new one unseen.
        iterator = _InfiniteDataloaderIterator(loop.dataloader)
        loop.dataloader_iterator = itertools.chain(itertools.repeat(None, loop.iter), iterator)

    def _find_place(self, runner: Runner, loop: Any) -> tuple[int, int]:
        """Return the passes that are over, and the samples of each process of the current one."""
        position = self._resumed
        layout = self._layout
        assert layout is not None
        assert self._sampler is not None
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        if position is None:
            if by_epoch and loop.iter == loop.epoch * layout.epoch_length:
                return loop.epoch, 0

            raise ValueError(
                f'The checkpoint is at epoch {loop.epoch} and iteration {loop.iter}, and does not '
                'say where in the data that is: it was not made with ExactResumeHook. An epoch '
                f'has {layout.epoch_length} iterations here. Start a new run from its weights: '
                '--cfg-options load_from=FILE, without --resume.'
            )
        if by_epoch and position.passes != loop.epoch:
            raise ValueError(
                f'The checkpoint contradicts itself: it is at epoch {loop.epoch}, but its place in '
                f'the data is in epoch {position.passes}.'
            )
        if position.layout == layout:
            return position.passes, position.seen

        changes = position.layout.differences(layout)
        whole = position.layout.epoch_length * position.layout.batch_size
        is_over = by_epoch and position.seen >= whole
        if position.seen > 0 and not is_over:
            raise ValueError(
                f'The checkpoint was saved inside an epoch ({position.seen} of {whole} samples of '
                f'a process), but the training data are divided differently here: {changes}. So '
                'the images of the rest of the epoch are unknown: resume with the settings of the '
                'interrupted run, or from a checkpoint at the end of an epoch.'
            )

        runner.logger.warning(
            f'The training data are divided differently than before: {changes}. Training '
            f'continues at the beginning of epoch {position.passes + 1 + is_over}. The learning '
            'rate and schedules that count iterations stay as they were planned.'
        )
        # Only the end of a finished epoch remains, with the hooks that run there.
        return position.passes, self._sampler.num_samples if is_over else 0
