"""Checks that settings agree, before the data are read.

Annotation files, cached scores, checkpoints and threshold files store the classes, and the model
has their number. The metrics must measure the model's outputs. This module finds all mistakes at
once, from the config and from the beginnings of the files it names.
"""

import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from mmpretrain import registry
from mmpretrain.datasets import MultiLabelDataset

from ..datasets.annotations import AnnotationError, compare_classes, load_classes
from ..datasets.cached import ScoreDataset, ScoreFileError, read_origin
from ..datasets.wrapping import innermost
from ..evaluation.metrics.image_metric import ImageMetric
from ..evaluation.metrics.label_sets import LabelSetMetric
from .config_check import find_parameters

TRAINING = ('train_dataloader', 'val_dataloader')
TESTING = ('test_dataloader',)


def find_class(kind: Registry, name: Any) -> Any:
    """Return the class of a ``type``, which is a registered name or the class itself; or None."""
    return kind.get(name) if isinstance(name, str) else name


def is_type(node: Any, kind: Registry, expected: type) -> bool:
    """Return whether a setting builds a class or a subclass, however it is named."""
    found = find_class(kind, node.get('type')) if isinstance(node, Mapping) else None
    return isinstance(found, type) and issubclass(found, expected)


@dataclass
class Disagreements:
    """Contradictions in the settings of a run, one sentence each.

    Attributes:
        settings: Contradictions between settings, or between settings and the data's files.
        files: Problems of files that cannot be read.
    """

    settings: list[str]
    files: list[str]


def find_disagreements(
    cfg: Config,
    loaders: Sequence[str],
    others: Mapping[str, Sequence[str]] | None = None,
) -> Disagreements:
    """Find contradictions in the settings of a run, and set the model's number of classes.

    ``num_classes`` of the head comes from the data if it is missing or None.

    Args:
        cfg: The whole config; ``model.head.num_classes`` is filled in.
        loaders: The data loaders that the run uses, such as ``('test_dataloader',)``.
        others: Classes that must equal those of the data, by their source.
    """
    used = [name for name in loaders if isinstance(cfg.get(name), Mapping)]
    files: list[str] = []
    classes = _read_all_classes(cfg, used, files)
    problems = list(_compare_all_classes(classes | dict(others or {})))

    first = next(iter(classes.values()), None)
    head = find_head(cfg)
    if first is not None and head is not None:
        fill_num_classes(head, len(first))
        problems += _check_head(head, len(first), next(iter(classes)))

    problems += _check_loaders(cfg)
    for name in used:
        problems += _check_evaluators(cfg, name.replace('dataloader', 'evaluator'), head, first)

    if 'train_dataloader' in used:
        problems += _check_best(cfg)
    problems += _check_cached(cfg, used)
    return Disagreements(problems, files)


def find_head(cfg: Mapping[str, Any]) -> Any:
    """Return the setting of the model's head, even inside test-time augmentation, or None."""
    model = cfg.get('model')
    while isinstance(model, Mapping) and 'head' not in model and 'module' in model:
        model = model['module']
    head = model.get('head') if isinstance(model, Mapping) else None
    return head if isinstance(head, Mapping) and 'type' in head else None


def fill_num_classes(head: Any, number: int) -> None:
    """Set ``num_classes`` of a head that accepts it, if it is missing or None."""
    kind = find_class(registry.MODELS, head['type'])
    takes = callable(kind) and 'num_classes' in find_parameters(kind)[0]
    if takes and head.get('num_classes') is None:
        head['num_classes'] = number


def read_data_classes(cfg: Mapping[str, Any], loader: str) -> dict[str, list[str]]:
    """Read the classes of a loader's data set from its files.

    Only the beginnings of the files are read. Other kinds of data sets are left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not valid.
    """
    found = {}
    for part in innermost(cfg[loader]['dataset']):
        path = _find_file(part)
        if is_type(part, registry.DATASETS, ScoreDataset):
            found[path] = read_origin(path)[0]
        elif is_type(part, registry.DATASETS, MultiLabelDataset):
            named = (part.get('metainfo') or {}).get('classes')
            own = load_classes(path) if path else None
            if own is not None:
                found[path] = own
            if isinstance(named, Sequence) and not isinstance(named, str):
                found[f'`{loader}.dataset.metainfo`'] = list(named)

    return found


def _find_file(dataset: Mapping[str, Any]) -> str:
    name = dataset.get('ann_file') or ''
    return osp.join(dataset.get('data_root') or '', name) if name else ''


def _read_all_classes(
    cfg: Mapping[str, Any],
    loaders: Sequence[str],
    problems: list[str],
) -> dict[str, Sequence[str]]:
    found: dict[str, Sequence[str]] = {}
    for name in loaders:
        try:
            found |= read_data_classes(cfg, name)
        except (OSError, AnnotationError, ScoreFileError) as error:
            problems.append(f'`{name}`: {error}')
    return found


def _compare_all_classes(classes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    first = next(iter(classes), '')
    for name, found in classes.items():
        try:
            compare_classes(found, classes[first], f'The classes of {name}', first)
        except AnnotationError as error:
            yield str(error)


def _check_head(
    head: Mapping[str, Any],
    number: int,
    file: str,
) -> Iterator[str]:
    own = head.get('num_classes')
    if own is not None and own != number:
        yield (
            f'`model.head.num_classes` is {own}, but {file} has {number} classes: write {number}, '
            'or None, which takes that of the data.'
        )
    yield from _check_decision(head, 'model.head', number)


def _check_decision(
    node: Mapping[str, Any],
    path: str,
    number: int,
) -> Iterator[str]:
    thr = node.get('thr')
    topk = node.get('topk')
    if isinstance(thr, list | tuple) and len(thr) != number:
        yield f'`{path}.thr` has {len(thr)} thresholds, but the data have {number} classes.'
    if isinstance(topk, int) and topk > number:
        yield f'`{path}.topk` is {topk}, but the data have {number} classes.'


def _check_loaders(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Find settings that leave images out of a validation or test and so falsify it."""
    for name in ('val_dataloader', 'test_dataloader'):
        for key in ('drop_last', 'num_batch_per_epoch'):
            if (cfg.get(name) or {}).get(key):
                yield (
                    f'`{name}.{key}` leaves images out, so the figures are not those of the data '
                    'set: remove it. A part of a data set is chosen by its `indices`.'
                )


def _check_evaluators(
    cfg: Mapping[str, Any],
    key: str,
    head: Any,
    classes: Sequence[str] | None,
) -> Iterator[str]:
    for path, node in list_evaluators(cfg, key):
        if classes is not None:
            yield from _check_decision(node, path, len(classes))
        decides_by_threshold = (
            is_type(node, registry.METRICS, LabelSetMetric)
            and _takes(node, 'use_pred_label')
            and not node.get('use_pred_label')
            and node.get('item', 'pred_score') == 'pred_score'
        )
        method = find_own_decider(head)
        if decides_by_threshold and method is not None:
            yield (
                f'`{path}` predicts by a threshold, but {method} decides itself which labels an '
                'image has: write use_pred_label=True.'
            )


def _takes(node: Mapping[str, Any], argument: str) -> bool:
    return argument in find_parameters(find_class(registry.METRICS, node['type']))[0]


def list_evaluators(cfg: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """Yield the settings of an evaluator's metrics, with their names."""
    value = cfg.get(key)
    several = isinstance(value, list | tuple)
    for index, node in enumerate(value or () if several else [value]):
        if isinstance(node, Mapping) and 'type' in node:
            yield f'{key}[{index}]' if several else key, node


def find_own_decider(head: Any) -> str | None:
    """Name the label decoder of a head that has no threshold, or None."""
    decoder = head.get('decoder') if isinstance(head, Mapping) else None
    kind = (
        find_class(registry.MODELS, decoder.get('type')) if isinstance(decoder, Mapping) else None
    )
    if getattr(kind, 'has_threshold', True):
        return None
    return getattr(kind, '__name__', str(kind))


def _check_best(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Compare the key that selects the best checkpoint with the measured keys."""
    hooks = cfg.get('default_hooks') or {}
    wanted = (hooks.get('checkpoint') or {}).get('save_best')
    if not wanted:
        return

    metrics = [node for _, node in list_evaluators(cfg, 'val_evaluator')]
    if not isinstance(cfg.get('val_dataloader'), Mapping) or not metrics:
        yield (
            f'`default_hooks.checkpoint.save_best` is {wanted!r}, but nothing is validated: write '
            'save_best=None, rule=None, or add val_dataloader, val_evaluator and val_cfg.'
        )
        return

    known = [_find_prefix(node) for node in metrics]
    for name in [wanted] if isinstance(wanted, str) else wanted:
        prefix = name.rpartition('/')[0]
        if name != 'auto' and None not in known and prefix not in known:
            yield (
                f'`default_hooks.checkpoint.save_best` is {name!r}, but `val_evaluator` measures '
                f'{", ".join(sorted(f"{one}/..." for one in set(known) if one))}.'
            )


def _find_prefix(node: Mapping[str, Any]) -> str | None:
    """Return the prefix of a metric's keys, or None if it is unknown."""
    if not is_type(node, registry.METRICS, ImageMetric):
        return None
    kind: Any = find_class(registry.METRICS, node['type'])
    return node.get('prefix') or kind.default_prefix


def _check_cached(cfg: Mapping[str, Any], loaders: Sequence[str]) -> Iterator[str]:
    """Compare the CNNs that cached files came from."""
    origins: dict[str, str] = {}
    for name in loaders:
        for part in innermost(cfg[name]['dataset']):
            path = _find_file(part)
            if is_type(part, registry.DATASETS, ScoreDataset) and osp.isfile(path):
                origins[path] = _read_origin(path)

    first = next(iter(origins), '')
    for path, origin in origins.items():
        if origin != origins[first]:
            yield (
                f'{path} contains the scores of another CNN than {first}: `checkpoint_sha256` is '
                f'{origin[:12]}... in place of {origins[first][:12]}...: extract both with one '
                'checkpoint.'
            )


def _read_origin(path: str) -> str:
    try:
        return read_origin(path)[1].get('checkpoint_sha256', '')
    except (AnnotationError, ScoreFileError):
        return ''  # reported when its classes were read
