"""Checks that a loaded checkpoint has the classes, tensors and state that the run needs."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmpretrain.registry import HOOKS
from torch import Tensor

from ...datasets.annotations import compare_classes
from ..checkpoint_content import check_kinds, check_state_dict
from ..same_start import require_same_start
from ..training_state import take_training_state
from ..weights import bare_model, load_weights, summarize


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Checks a loaded checkpoint before it is used.

    - The class list of a checkpoint must equal that of the data set, in names and order.
    - A test, or the extraction of scores, needs every tensor of the model, and a model with the
      checkpoint's decision.
    - A resumed run needs the complete state that it continues from, and none of another run: see
      :mod:`morn_plugin.engine.training_state`.
    - A run that starts from weights (``load_from``) needs every tensor of its frozen parts; other
      tensors that keep their initial values are named in the log. A frozen part without weights is
      an error.
    - The processes of a distributed run start from the same state.

    Raises:
        AnnotationError: If the class lists differ.
        ValueError: If tensors or state are missing or belong to another model or run; names them
            all.
        RuntimeError: If the processes differ.
    """

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._loaded = False
        self._compared = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare the checkpoint with the run."""
        self._loaded = True
        meta = checkpoint.get('meta')
        found = (meta.get('dataset_meta') if isinstance(meta, Mapping) else None) or {}
        expected = dataset_classes(runner)
        if found.get('classes') and expected:
            compare_classes(
                found['classes'], expected, 'The classes of the checkpoint', 'the data set'
            )

        if runner._resume:
            take_training_state(runner, checkpoint)
        else:
            require_weights(runner, checkpoint, isinstance(runner._train_loop, BaseLoop))

    def before_train(self, runner: Runner) -> None:
        """Refuse to train behind frozen parts with random weights."""
        random = [] if self._loaded else list(_random_parts(runner))
        if random:
            raise ValueError(
                f'The parts {random} of the model are frozen (`frozen`), but their weights are '
                'random, since no checkpoint was loaded. Train the first stage '
                'and name its checkpoint: --cfg-options '
                'load_from=work_dirs/<first stage>/<checkpoint>.pth'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Compare the processes once, after all hooks have prepared the start."""
        if not self._compared:
            require_same_start(runner)
            self._compared = True


def require_weights(
    runner: Runner,
    checkpoint: Mapping[str, Any],
    is_training: bool,
    log: bool = True,
) -> None:
    """Require the tensors that a run needs, and report those it leaves unchanged.

    Args:
        runner: The run, which does not resume.
        checkpoint: The content of ``runner._load_from``.
        is_training: Whether the run trains; a test needs every tensor.
        log: Whether to log tensors that do not fit but are not needed.

    Raises:
        ValueError: If a tensor is missing that the run needs.
    """
    source = str(runner._load_from)
    logger = runner.logger
    weights = checkpoint.get('state_dict')
    if weights is None:  # it may be plain weights
        weights = {key: value for key, value in checkpoint.items() if isinstance(value, Tensor)}
    check_state_dict(weights, source)
    check_kinds(bare_model(runner.model), weights, source)
    misfits = load_weights(runner.model, weights)
    frozen = getattr(bare_model(runner.model), 'frozen', ())
    needed = misfits.within(frozen) if is_training else misfits.unset

    if needed:
        why = 'These parts are frozen' if is_training else 'A test needs every tensor'
        lines = ''.join(f'\n- {line}' for line in misfits.describe(needed))
        others = f' It has {summarize(misfits.unexpected)}.' if misfits.unexpected else ''
        raise ValueError(
            f'{source} is not a checkpoint of this model:{lines}\n{why}, and would be left at '
            f'their random weights.{others} Name the checkpoint that belongs to the config.'
        )

    lost = [name for name in misfits.unexpected if name.startswith('head.decision.')]
    if lost and not is_training:
        raise ValueError(
            f'{source} has its own decision rule ({summarize(lost)}), which the config lacks: the '
            'labels would differ. Name the config that it was saved with.'
        )
    if misfits.unset and not misfits.matching:
        raise ValueError(
            f'{source} contains no tensor of this model, so nothing would be loaded: it has '
            f'{summarize(misfits.unexpected) or "none"}, and the model {summarize(misfits.unset)}.'
        )

    if log and misfits.unset:
        logger.info(f'Not in {source}, so left as initialised: {summarize(misfits.unset)}.')
    if log and misfits.unexpected:
        logger.info(f'Not used from {source}: {summarize(misfits.unexpected)}.')


def dataset_classes(runner: Runner) -> list[str] | None:
    """Return the class names of the data set that the runner is about to use, or None."""
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
        if dataset is not None:
            return list(dataset.metainfo.get('classes') or []) or None
    return None


def _random_parts(runner: Runner) -> Iterator[str]:
    """Name the frozen parts without a source of weights."""
    model = bare_model(runner.model)
    modules = dict(model.named_modules())
    settings = runner.cfg.get('model', {}) if hasattr(runner, 'cfg') else {}
    for part in getattr(model, 'frozen', ()):
        has_weights = any(True for _ in modules[part].parameters()) if part in modules else False
        if part == 'head.fc' or (has_weights and not _is_pretrained(settings.get(part))):
            yield part


def _is_pretrained(setting: Any) -> bool:
    """Return whether the setting of a part names weights to start from."""
    if isinstance(setting, Mapping):
        is_named = setting.get('pretrained') or str(setting.get('type')).endswith('Pretrained')
        return bool(is_named) or any(map(_is_pretrained, setting.values()))
    return isinstance(setting, list | tuple) and any(map(_is_pretrained, setting))
