"""Checks what a resumed run takes from a checkpoint besides the weights.

MMEngine uses it unchecked: paths in the message hub whose files hooks remove, a config text that it
runs, attributes of schedulers, and any schedulers and averages it finds. The checkpoint may come
from somebody else, or from a run with different settings. So every part is compared with this run
before it is used.
"""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.logging import HistoryBuffer
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from ..utils.describing import shorten
from .checkpoint_content import check_kinds, check_state_dict
from .optimizers.state import check_state, is_alike
from .position import read_position
from .weights import bare_model, load_weights, summarize

LAST = 'last_ckpt'
BEST = 'best_ckpt'
BEST_SCORE = 'best_score'
KEPT = 'keep_ckpt_ids'
OUTDATED_BEST = 'outdated_best_ckpts'
VALIDATED = 'last_validated_iter'
# MMEngine's log treats every name that begins with `val` as a validation figure.
VALIDATED_BEFORE = 'validated_at_iter'
JUDGED_BY = 'best_judged_by'
LARGEST_SEED = 2**32 - 1
LONGEST_LOG = 1_000_000
# These describe the run that wrote them, not the run that reads them.
OF_ANOTHER_RUN = ('cfg', 'experiment_name', 'mmengine_version')
EPOCH_OR_ITER = ('epoch', 'iter')


class TrainingStateError(ValueError):
    """A checkpoint that training cannot continue from; the message names every reason."""


def take_training_state(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Check everything that a resumed run uses from a checkpoint, and remove the rest.

    Args:
        runner: The run, its optimizer, schedulers and hooks built.
        checkpoint: The loaded checkpoint; changed in place.

    Raises:
        TrainingStateError: If a part is missing, malformed, or from another run.
    """
    problems = [
        *_find_unfit_parts(runner, checkpoint),
        *_check_averages(runner, checkpoint),
        *_check_optimizer(runner, checkpoint),
        *_check_schedulers(runner, checkpoint),
        *_check_hub(checkpoint),
    ]
    _refuse(problems, runner)


def require_own_weights(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Check the parts of a checkpoint that need no data.

    Raises:
        TrainingStateError: If it belongs to another model, or training cannot continue from it.
    """
    _refuse(list(_find_unfit_parts(runner, checkpoint)), runner)


def _refuse(problems: Sequence[str], runner: Runner) -> None:
    if problems:
        lines = ''.join(f'\n- {problem}' for problem in problems)
        raise TrainingStateError(
            f'Training cannot continue from {runner._load_from or "this checkpoint"}:{lines}\n'
            'To start a new run from its weights: --cfg-options load_from=FILE, without --resume.'
        )


def take_paths(info: dict[str, Any]) -> None:
    """Check the paths in the message hub, and reduce them to names in one folder.

    Args:
        info: ``message_hub.runtime_info`` of a checkpoint; changed in place.

    Raises:
        TrainingStateError: If it holds anything else.
    """
    problems = []
    for key in [key for key in info if _is_path_key(key)]:
        name = info[key] = _take_name(info[key])
        expected = 'a file' if key == LAST else 'a file best_*'
        is_right = _is_name(name) if key == LAST else _is_best(name)
        if name is not None and not is_right:
            problems.append(f'`{key}` should name {expected}, but got {shorten(name)}')

    outdated = info.get(OUTDATED_BEST, [])
    if not isinstance(outdated, list) or not all(map(_is_best, outdated)):
        problems.append(f'`{OUTDATED_BEST}` should list files best_*, but got {shorten(outdated)}')

    kept = info.get(KEPT, [])
    if not isinstance(kept, list) or not all(map(_is_count, kept)):
        problems.append(f'`{KEPT}` should list whole numbers, but got {shorten(kept)}')

    if problems:
        lines = ''.join(f'\n- {problem}' for problem in problems)
        raise TrainingStateError(
            'The checkpoint names files in a way that MMEngine does not, perhaps so that others '
            f'are read or removed. In its `message_hub.runtime_info`:{lines}'
        )


def forget_paths(info: dict[str, Any]) -> None:
    """Remove the names of files next to a checkpoint, for a run in another folder."""
    for key in [key for key in info if _is_path_key(key) or key in (OUTDATED_BEST, KEPT)]:
        del info[key]


def forget_best(info: dict[str, Any], judged_by: Sequence[str]) -> bool:
    """Remove the best checkpoint and its score if another metric chose them.

    Scores of different metrics are not comparable: the new one might never be better.

    Args:
        info: ``message_hub.runtime_info`` of a checkpoint; changed in place.
        judged_by: The metrics of this run; ``auto`` stands for any.

    Returns:
        Whether anything was removed.
    """
    before = info.get(JUDGED_BY)
    unknown = before is None or any(item.startswith('auto ') for item in judged_by)
    if unknown or before == list(judged_by):
        return False
    for key in [key for key in info if str(key).startswith((BEST, BEST_SCORE))]:
        del info[key]
    return True


def without_methods(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scheduler's state without the methods that some contain: they cannot be loaded."""
    return {key: value for key, value in state.items() if not callable(value)}


def _is_path_key(key: Any) -> bool:
    return key in (LAST, BEST) or str(key).startswith(f'{BEST}_')


def _take_name(path: Any) -> Any:
    """Return the last part of a path that MMEngine writes in full; anything else unchanged."""
    return posixpath.basename(path.replace('\\', '/')) if isinstance(path, str) else path


def _is_name(name: Any) -> bool:
    if not isinstance(name, str) or any(char in name for char in '/\\\0'):
        return False
    return name not in ('', '.', '..')


def _is_best(name: Any) -> bool:
    return _is_name(name) and name.startswith('best_')


def _is_count(value: Any, largest: int = 1 << 48) -> bool:
    return type(value) is int and 0 <= value < largest


def _find_unfit_parts(runner: Runner, checkpoint: dict[str, Any]) -> Iterator[str]:
    yield from _find_missing_parts(checkpoint)
    yield from _check_meta(checkpoint)
    yield from _check_weights(runner, checkpoint)


def _find_missing_parts(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    for name, kind in (('meta', 'dict'), ('message_hub', 'dict'), ('optimizer', 'dict')):
        part = checkpoint.get(name)
        if part is None:
            hint = ' (best_*.pth are for use, not for resuming)' if name == 'optimizer' else ''
            yield f'it has no `{name}`{hint}'
        elif not isinstance(part, dict):
            yield f'its `{name}` should be a {kind}, but is a {type(part).__name__}'


def _check_meta(checkpoint: dict[str, Any]) -> Iterator[str]:
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return

    # MMEngine runs this text as Python, to compare the number of GPUs of very old versions.
    meta.pop('config', None)

    for key in EPOCH_OR_ITER:
        if not _is_count(meta.get(key)):
            yield f'its `meta.{key}` should be a whole number, but is {shorten(meta.get(key))}'

    seed = meta.get('seed')
    if seed is not None and not _is_count(seed, LARGEST_SEED + 1):
        yield f'its `meta.seed` should be in 0-{LARGEST_SEED}, but is {shorten(seed)}'

    try:
        read_position(meta)
    except ValueError as error:
        yield f'its {error}'


def _check_weights(runner: Runner, checkpoint: Mapping[str, Any]) -> Iterator[str]:
    weights = checkpoint.get('state_dict')
    if not isinstance(weights, Mapping):
        yield 'it has no `state_dict`'
        return

    try:
        check_state_dict(weights, '`state_dict`')
        check_kinds(bare_model(runner.model), weights, '`state_dict`')
    except ValueError as error:
        yield f'its {error}'
        return

    misfits = load_weights(runner.model, weights)
    yield from misfits.describe(misfits.unset)
    if misfits.unexpected:
        yield f'it is of another model, which has {summarize(misfits.unexpected)} as well'


def _check_averages(runner: Runner, checkpoint: Mapping[str, Any]) -> Iterator[str]:
    averages = checkpoint.get('ema_state_dict')
    models = [hook.ema_model for hook in runner.hooks if hasattr(hook, 'ema_model')]
    if averages is None and models:
        yield 'this run averages weights (EMAHook), but it has no `ema_state_dict`'
    elif averages is not None and not models:
        yield (
            'its weights are averages (EMAHook), with those in training in `ema_state_dict`, but '
            'this run averages none'
        )
    elif averages is not None and not isinstance(averages, dict):
        yield f'its `ema_state_dict` should be a dict, but is a {type(averages).__name__}'
    elif averages is not None:
        own = {name: tuple(value.shape) for name, value in models[0].state_dict().items()}
        saved = {name: tuple(getattr(value, 'shape', ())) for name, value in averages.items()}
        wrong = [name for name in own.keys() | saved.keys() if own.get(name) != saved.get(name)]

        try:
            check_state_dict(averages, '`ema_state_dict`')
        except ValueError as error:
            yield f'its {error}'

        if wrong:
            yield (
                f'its `ema_state_dict` has other tensors than the averages of this run: '
                f'{len(wrong)}, such as {sorted(map(str, wrong))[0]}'
            )


def _check_optimizer(runner: Runner, checkpoint: dict[str, Any]) -> Iterator[str]:
    saved = checkpoint.get('optimizer')
    if not isinstance(saved, dict):
        return
    if not isinstance(runner.optim_wrapper, OptimWrapperDict):
        checkpoint['optimizer'] = yield from _check_wrapper(runner.optim_wrapper, saved)
        return
    for name, wrapper in runner.optim_wrapper.items():
        saved[name] = yield from _check_wrapper(wrapper, saved.get(name))


def _check_wrapper(wrapper: Any, saved: Any) -> Any:
    """Yield the problems of one optimizer's state, and return the state to load."""
    optimizer = wrapper.optimizer
    try:
        own_check = getattr(optimizer, 'check_state', None)
        checked = own_check(saved) if own_check else check_state(optimizer, saved)
    except ValueError as error:
        yield str(error).replace('\n', '\n  ')
        return saved

    # MMEngine also stores the scale of mixed precision, and the rate that it shows.
    base = getattr(wrapper, 'base_param_settings', None)
    found = checked.get('base_param_settings')
    if found is not None and not (isinstance(base, dict) and _has_alike(found, base)):
        yield f'its `base_param_settings` is {shorten(found)}, but here {shorten(base)}'
    scale = checked.get('loss_scaler', {})
    if not isinstance(scale, dict) or not all(is_alike(value, 1.0) for value in scale.values()):
        yield f'its `loss_scaler` should contain numbers, but is {shorten(scale)}'
    return checked


def _has_alike(found: Any, own: Mapping[str, Any]) -> bool:
    if not isinstance(found, Mapping):
        return False
    return all(is_alike(found.get(key), value) for key, value in own.items())


def _check_schedulers(runner: Runner, checkpoint: Mapping[str, Any]) -> Iterator[str]:
    own = _flatten(runner.param_schedulers)
    saved = _flatten(checkpoint.get('param_schedulers'))
    if len(own) != len(saved):
        yield f'it has {len(saved)} parameter schedulers, but this run {len(own)}'
        return

    changed = []
    for index, (scheduler, state) in enumerate(zip(own, saved, strict=True)):
        name = f'{type(scheduler).__name__} (number {index + 1})'
        options = without_methods(scheduler.state_dict())
        if not isinstance(state, Mapping) or set(state) != set(options):
            yield f'its state of the scheduler {name} is that of another kind of scheduler'
            continue

        wrong = [key for key, value in options.items() if not is_alike(state[key], value)]
        if wrong:
            yield f'its state of the scheduler {name} has {wrong[0]} = {shorten(state[wrong[0]])}'
        fixed = set(options) - {'base_values', 'last_step', '_global_step', '_last_value'}
        changed += [
            f'{type(scheduler).__name__}.{key} = {state[key]} (now {options[key]})'
            for key in sorted(fixed)
            if state[key] != options[key]
        ]

    if changed:
        runner.logger.warning(
            'The schedulers follow the plan of the checkpoint, not that of the config: '
            f'{", ".join(changed)}.'
        )


def _flatten(schedulers: Any) -> list[Any]:
    if isinstance(schedulers, Mapping):
        return [part for key in sorted(schedulers) for part in _flatten(schedulers[key])]
    return list(schedulers) if isinstance(schedulers, Sequence) else []


def _check_hub(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    hub = checkpoint.get('message_hub')
    if not isinstance(hub, dict):
        return

    parts = {name: hub.get(name) for name in ('log_scalars', 'runtime_info', 'resumed_keys')}
    wrong = [name for name, part in parts.items() if not isinstance(part, dict)]
    if wrong:
        yield f'its `message_hub.{wrong[0]}` should be a dict'
        return

    info = hub['runtime_info']
    scalars = hub['log_scalars']
    if not all(isinstance(key, str) for key in [*info, *scalars]):
        yield 'its `message_hub` should have text as keys'
        return

    for key in OF_ANOTHER_RUN:
        info.pop(key, None)

    if VALIDATED_BEFORE in info:
        info[VALIDATED] = info.pop(VALIDATED_BEFORE)

    for key, value in info.items():
        is_number = key.startswith(BEST_SCORE) or key == 'eta'
        if is_number and not is_alike(value, 0.0):
            yield f'its `{key}` should be a number, but is {shorten(value)}'
        if key == VALIDATED and not _is_count(value):
            yield f'its `{key}` should be a whole number, but is {shorten(value)}'

    if not all(isinstance(value, bool) for value in hub['resumed_keys'].values()):
        yield 'its `message_hub.resumed_keys` should be true or false each'

    for key, value in scalars.items():
        buffer = _rebuild(value)
        if buffer is None:
            yield f'its log of {shorten(key)} is no history of numbers'
        else:
            scalars[key] = buffer


def _rebuild(value: Any) -> HistoryBuffer | None:
    """Rebuild a history of numbers from the numbers only."""
    try:
        values, counts = (list(map(float, part)) for part in value.data)
        whole = [int(count) for count in counts]
        is_right = len(values) == len(counts) and 0 < value.max_length <= LONGEST_LOG
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None

    if not is_right or not isinstance(value, HistoryBuffer):
        return None

    return HistoryBuffer(values, whole, value.max_length)


def inside_epoch(runner: Runner, meta: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint is from the middle of an epoch."""
    position = read_position(meta)
    if position is not None:
        return position.seen > 0
    return meta['iter'] != meta['epoch'] * len(runner.train_loop.dataloader)
