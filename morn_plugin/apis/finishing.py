"""Messages at the end of a run: its outputs, and the next command."""

import os.path as osp
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ..datasets.cached import ScoreDataset
from ..engine.screen import SCREEN_ONLY
from ..utils.next_steps import next_step
from .cnn_comparison import compare_with_cnn

MERGE = 'model_converters/merge_decoder'


def say_what_was_trained(runner: Runner, config: str) -> None:
    """Log the checkpoint of a training, whether its decoder helps, and how to test it.

    Args:
        runner: The finished run.
        config: Its config file.
    """
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    best, last = find_checkpoints(hooks[0]) if hooks else ({}, None)
    chosen = next(iter(best.values()), last)
    if chosen is None or not is_main_process():
        return

    figure = runner.message_hub.runtime_info.get('best_score')
    value = '' if figure is None else f' = {float(figure):.2f}'
    made = [f'{path}, the best by {name}{value}' for name, path in best.items()]
    if last is not None:
        made.append(f'{last}, the last one')
    runner.logger.info(f'Done. Checkpoints: {"; ".join(made)}.')
    warning = compare_with_cnn(runner.message_hub)
    if warning is not None:
        runner.logger.warning(warning)
    step = next_step('test', config, chosen, to='test it')
    runner.logger.info(step, extra=SCREEN_ONLY)


def find_checkpoints(hook: CheckpointHook) -> tuple[dict[str, str], str | None]:
    """Return a hook's best checkpoints, by their figure, and the last one.

    Paths are relative to the current folder.
    """
    keys = list(hook.key_indicators) if hook.save_best else []
    if len(keys) == 1:
        found: dict[str, Any] = {keys[0]: hook.best_ckpt_path}
    else:
        found = dict(getattr(hook, 'best_ckpt_path_dict', {}))
    best = {name: _shorten(path) for name, path in found.items() if path}
    last = getattr(hook, 'last_ckpt', None)
    return best, None if last is None else _shorten(last)


def _shorten(path: str) -> str:
    relative = osp.relpath(path)
    return path if relative.startswith(osp.pardir) else relative


def say_what_was_tested(
    runner: Runner,
    checkpoint: str,
    out: str | None,
) -> None:
    """Log the files of a test, and how to view single images.

    Args:
        runner: The finished run.
        checkpoint: The tested checkpoint.
        out: The requested file, if any.
    """
    if not is_main_process():
        return
    if out is not None:
        runner.logger.info(f'Wrote {out}.')

    if isinstance(runner.test_dataloader.dataset, ScoreDataset):
        given = ('CNN', checkpoint, 'OUT', '--config', 'CONFIG')
        step = next_step(MERGE, *given, to='put it behind its CNN')
    else:
        step = next_step('analysis/report', checkpoint, to='see where it errs')

    runner.logger.info(step, extra=SCREEN_ONLY)
