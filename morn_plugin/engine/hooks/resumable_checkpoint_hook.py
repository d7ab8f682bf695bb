"""Checkpoints that survive a kill at any moment, a full disk, and copying the folder."""

import os.path as osp
from collections import deque
from collections.abc import Mapping
from typing import Any

from mmengine.dist import (
    all_gather_object,
    broadcast,
    broadcast_object_list,
    is_main_process,
)
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS

from ..checkpoints import LAST_CHECKPOINT, find_resumable, remove_unfinished
from ..training_state import (
    JUDGED_BY,
    OUTDATED_BEST,
    VALIDATED,
    TrainingStateError,
    forget_best,
    forget_paths,
    inside_epoch,
    take_paths,
    without_methods,
)


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, made safe.

    - Files are written under a temporary name, flushed to disk and renamed; the replaced file is
      removed afterwards.
    - Paths in them and in ``last_checkpoint`` are relative to the folder, so that it can be moved
    and copied; no path read from either can leave the folder.
    - Resuming uses the newest intact checkpoint, and reports skipped ones with reasons. The first
      process chooses for all.
    - A checkpoint from before a validation is followed by that validation when resumed, so that the
    best checkpoint and
      whatever depends on it are the same too.

    Args:
        *args: Those of ``CheckpointHook``.
        auto_resume: Whether to resume if the folder has a checkpoint; without one, the option has
            no effect. For restarts by torchrun or a cluster; ``tools/train.py --resume`` sets it.
        **kwargs: Those of ``CheckpointHook``.
    """

    keep_ckpt_ids: deque[int]

    def __init__(
        self,
        *args: Any,
        auto_resume: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault('backend_args', dict(backend='atomic'))
        super().__init__(*args, **kwargs)
        if self.args:  # MMEngine keeps them for the end of the first epoch, when saving fails
            raise TypeError(
                f'{type(self).__name__} has no such argument: {", ".join(map(repr, self.args))}.'
            )
        self.auto_resume = auto_resume
        self._has_chosen = self._is_inside_epoch = False

    def before_run(self, runner: Runner) -> None:
        """Choose the checkpoint to resume from, unless the config names one."""
        self.choose_checkpoint(runner)

    def choose_checkpoint(self, runner: Runner) -> None:
        """Let the first process choose the checkpoint to resume from, once, for all processes.

        Raises:
            FileNotFoundError: In all processes, if one of them cannot see it.
        """
        is_asked = self.auto_resume or (runner._resume and runner._load_from is None)
        if self._has_chosen or not is_asked:
            return

        self._has_chosen = True

        folder = self._folder(runner)
        found = [find_resumable(folder, self.filename_tmpl) if is_main_process() else None]
        broadcast_object_list(found)
        assert found[0] is not None
        path, skipped = found[0]

        for message in skipped:
            runner.logger.warning(
                f'Skipped when looking for a checkpoint to resume from: {message}'
            )

        _require_visible(path)

        runner._resume = path is not None
        if path is not None:
            runner._load_from = path
        elif skipped:
            runner.logger.warning(
                f'No intact checkpoint in {folder}: training starts from the beginning.'
            )
        else:
            runner.logger.info(f'Nothing to resume in {folder}: training starts at the beginning.')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check and take over file names before the message hub gets them."""
        if not runner._resume:
            return

        hub = checkpoint.get('message_hub')
        info = hub.get('runtime_info') if isinstance(hub, Mapping) else None
        if not isinstance(info, dict):
            raise TrainingStateError(
                f'{runner._load_from}: expected a dict `message_hub.runtime_info` to resume from, '
                f'but got {type(info).__name__}.'
            )

        take_paths(info)
        if not _is_in(str(runner._load_from), self._folder(runner)):
            forget_paths(info)
            runner.logger.info(
                f'Resuming from another folder than {self._folder(runner)}: the files there, the '
                'best checkpoint too, stay as they are.'
            )

        if self.save_best and forget_best(info, self._judged_by()):
            runner.logger.warning(
                f'The best checkpoint is chosen by {self.save_best} here, and was by something '
                'else before: it is chosen again. The file of the previous best one stays.'
            )

        self._is_inside_epoch = inside_epoch(runner, checkpoint['meta'])

    def _judged_by(self) -> list[str]:
        """Return the criteria of the best checkpoint: metrics and whether more is better."""
        return [f'{key} {rule}' for key, rule in zip(self.key_indicators, self.rules, strict=True)]

    def before_train(self, runner: Runner) -> None:
        """Set the folder up, and run a validation that an interruption prevented."""
        info = runner.message_hub.runtime_info
        for key in self._path_keys(info):
            runner.message_hub.update_info(
                key, osp.join(self._folder(runner), osp.basename(info[key]))
            )

        self._say_if_finished(runner)
        self.last_ckpt = info.get('last_ckpt')
        super().before_train(runner)
        if is_main_process():
            remove_unfinished(self.out_dir)

        if self.save_best:
            outdated = [osp.basename(name) for name in info.get(OUTDATED_BEST, ())]
            self._remove_outdated_best([osp.join(self.out_dir, name) for name in outdated])
            runner.message_hub.update_info(JUDGED_BY, self._judged_by())

        if self._validation_is_due(runner):
            runner.logger.info(
                'Validating first: the checkpoint is from before the validation that was due.'
            )
            # As in an uninterrupted run: the figures of the last iteration.
            last_epoch = runner.epoch - isinstance(runner.train_loop, EpochBasedTrainLoop)
            runner.message_hub.update_info_dict(dict(epoch=last_epoch, iter=runner.iter - 1))
            runner.val_loop.run()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Save the best checkpoint."""
        if runner._train_loop is None or isinstance(runner._train_loop, dict):
            return
        runner.message_hub.update_info(VALIDATED, runner.iter)
        super().after_val_epoch(runner, metrics)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Make the paths in a checkpoint relative to its folder, and leave out what cannot load."""
        info = checkpoint['message_hub']['runtime_info']
        for key in self._path_keys(info):
            info[key] = osp.basename(info[key])
        schedulers = checkpoint.get('param_schedulers') or []
        for states in schedulers.values() if isinstance(schedulers, dict) else [schedulers]:
            states[:] = map(without_methods, states)

    def _folder(self, runner: Runner) -> str:
        """Return the folder of the checkpoints as MMEngine will set it in ``before_train``."""
        if self.out_dir is None:
            return runner.work_dir
        return osp.join(self.out_dir, osp.basename(runner.work_dir.rstrip(osp.sep)))

    @staticmethod
    def _path_keys(info: dict[str, Any]) -> list[str]:
        return [
            key
            for key, value in info.items()
            if (key == 'last_ckpt' or key.startswith('best_ckpt')) and isinstance(value, str)
        ]

    @staticmethod
    def _say_if_finished(runner: Runner) -> None:
        loop = runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        at, last = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)

        if runner._resume and at >= last:
            unit, option = ('epoch', 'max_epochs') if by_epoch else ('iteration', 'max_iters')
            runner.logger.info(
                f'Training is finished: {runner._load_from} is from {unit} {at} of {last}. To '
                f'train on: --cfg-options train_cfg.{option}=N'
            )

    def _validation_is_due(self, runner: Runner) -> bool:
        loop = runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        at = loop.epoch if by_epoch else loop.iter
        if (
            runner.val_loop is None
            or at == 0
            or runner.message_hub.runtime_info.get(VALIDATED) == loop.iter
        ):
            return False
        if by_epoch and self._is_inside_epoch:
            return False

        loop._decide_current_val_interval()
        last = loop.max_epochs if by_epoch else loop.max_iters
        return at >= loop.val_begin and (at % loop.val_interval == 0 or at == last)

    def _save_checkpoint_with_step(
        self,
        runner: Runner,
        step: int,
        meta: dict,
    ) -> None:
        _share_buffers(runner)
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            # One more than is kept, until the new one is safe. Resuming repairs a kill in between.
            self.keep_ckpt_ids = deque([*self.keep_ckpt_ids, step], self.max_keep_ckpts + 1)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            self.file_backend.put_text(
                name, self.file_backend.join_path(self.out_dir, LAST_CHECKPOINT)
            )

        while self.max_keep_ckpts > 0 and len(self.keep_ckpt_ids) > self.max_keep_ckpts:
            outdated = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
            self._remove(self.file_backend.join_path(self.out_dir, outdated))
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Save the best checkpoint.

        The previous one is removed afterwards; MMEngine removes it first.
        """
        if not self.save_best:
            return

        before = self._best_paths()
        outdated = [path for path in before.values() if path]
        # It is stored in the checkpoint saved in between, so that a kill before the removal can be
        # repaired.
        runner.message_hub.update_info(OUTDATED_BEST, [osp.basename(path) for path in outdated])
        self._set_best_paths(dict.fromkeys(before))
        super()._save_best_checkpoint(runner, metrics)
        self._set_best_paths({key: path or before[key] for key, path in self._best_paths().items()})
        self._remove_outdated_best(outdated)

    def _remove_outdated_best(self, paths: list[str]) -> None:
        for path in set(paths) - set(self._best_paths().values()):
            self._remove(path)

    def _best_paths(self) -> dict[str, str | None]:
        if len(self.key_indicators) == 1:
            return {'best': self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _set_best_paths(self, paths: dict[str, str | None]) -> None:
        if len(self.key_indicators) == 1:
            (self.best_ckpt_path,) = paths.values()
        else:
            self.best_ckpt_path_dict = paths

    def _remove(self, path: str) -> None:
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)


def _is_in(path: str, folder: str) -> bool:
    return osp.realpath(osp.dirname(path)) == osp.realpath(folder)


def _require_visible(path: str | None) -> None:
    """Raise in all processes if one of them cannot see a file."""
    seen = all_gather_object(path is None or osp.isfile(path))
    blind = [rank for rank, sees in enumerate(seen) if not sees]
    if blind:
        raise FileNotFoundError(
            f'The first process chose {path} to resume from, but the processes {blind} see no such '
            'file: put the work folder on a disk that all of them share.'
        )


def _share_buffers(runner: Runner) -> None:
    """Broadcast the buffers (BatchNorm's statistics) that the checkpoint gets.

    Every process gets the first process's buffers.
    """
    averaged = (hook.ema_model for hook in runner.hooks if hasattr(hook, 'ema_model'))
    for model in (runner.model, *averaged):
        for buffer in model.buffers():
            broadcast(buffer)
