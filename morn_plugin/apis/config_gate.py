"""Defines what the config inside a checkpoint may contain.

MMEngine imports and calls any dotted name given as a ``type``. In a stranger's config every
``type`` must be a registered name, and nothing may refer to a file, a URL or another module.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import mmengine.registry
import mmpretrain.registry
from mmengine.registry import Registry

from ..utils.describing import describe, shorten
from ..utils.schemas import MAX_PIXELS

SCOPES = ('mmpretrain', 'mmengine', 'mmcv')
MAX_PATTERN = 200  # characters
IMPORTS = re.compile(r'(morn_plugin|mmpretrain)(\.[A-Za-z]\w*)*')

# Registered, but as unsafe as a dotted name: their arguments can call other code.
REFUSED = {
    'HuggingFaceClassifier': 'it downloads any given address',
    'TimmClassifier': 'it downloads any given address',
    'CLIPGenerator': 'it loads the file that it is told to',
    'VQAGenerationHead': 'it loads the file that it is told to',
    'ImageToImageRetriever': 'it loads the file that it is told to',
    'GroundingHead': 'it downloads any given address',
    'Albu': 'it calls whatever Albumentations has under a name',
    'Albumentations': 'it calls whatever Albumentations has under a name',
    'CIFAR10': 'it downloads, and unpickles files',
    'CIFAR100': 'it downloads, and unpickles files',
    'MNIST': 'it downloads',
    'FashionMNIST': 'it downloads',
    'MultiTaskDataset': 'it reads files of kinds that can run code',
}
# Weights come only from the checkpoint.
NOT_FOLLOWED = ('init_cfg', 'pretrained')
FILE_WORDS = {
    'path',
    'file',
    'url',
    'hub',
    'dir',
    'cache',
    'checkpoint',
    'pretrained',
    'prototype',
}
LOCAL_DISK = ({'backend': 'local'}, {'backend': 'disk'})
ANNOTATION_ENDINGS = ('json', 'txt', 'csv', 'lst', 'safetensors', 'xml', 'mat')
# The largest whole numbers, by the part of the config and by name.
LARGEST = {'model': 10_000_000, 'pipeline': 1 << 13}
LARGEST_BY_NAME = {
    'num_steps': 1000,
    'beam_size': 1000,
    'max_labels': 1000,
    'map_size': 1024,
    'num_workers': 256,
    'batch_size': 1 << 16,
    'times': 1000,
    'max_pixels': MAX_PIXELS,
}


class ConfigGate:
    """Checks a stranger's config: records forbidden content, and cleans the rest."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def clean_config(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config with every ``type`` as a bare name, without the dropped settings.

        It may be used only if ``problems`` is empty.
        """
        self._check_imports(values.get('custom_imports'))
        self._check_scope(values.get('default_scope'), 'default_scope')
        return {key: self._clean(value, key, key, _section(key)) for key, value in values.items()}

    def _clean(
        self,
        node: Any,
        path: str,
        key: Any,
        section: str,
    ) -> Any:
        """Clean a value and everything inside it.

        Args:
            node: The value.
            path: Its position, for the message.
            key: The key of the value, or of the list that contains it.
            section: The part of the config, which determines the registry of its types.
        """
        if isinstance(node, Mapping):
            return self._clean_mapping(node, path, section)
        if isinstance(node, (list, tuple)):
            return type(node)(
                self._clean(item, f'{path}[{index}]', key, section)
                for index, item in enumerate(node)
            )

        self._check_value(node, path, key, section)
        return node

    def _clean_mapping(
        self,
        node: Mapping[Any, Any],
        path: str,
        section: str,
    ) -> dict[Any, Any]:
        cleaned: dict[Any, Any] = {}
        for key, value in node.items():
            where = f'{path}.{key if isinstance(key, str) else shorten(key)}'
            if section == 'model' and key in NOT_FOLLOWED:
                continue

            if key == '_scope_':
                self._check_scope(value, where)
            elif key in ('_delete_', '_base_'):
                self.problems.append(f'`{where}`: expected settings, but got {key}')
            elif key in ('backend_args', 'file_client_args') and section != 'other':
                cleaned[key] = self._check_backend(value, where)
            elif key == 'type':
                is_pattern = section == 'model' and _is_target_of_lora(path, value)
                cleaned[key] = value if is_pattern else self._resolve(value, where, section)
            else:
                cleaned[key] = self._clean(value, where, key, _section(key, section))

        return cleaned

    def _resolve(
        self,
        name: Any,
        path: str,
        section: str,
    ) -> Any:
        """Return the bare name of something registered; anything else is a problem."""
        registered = _registered(section)
        found = _find_name(name, registered)

        if found is None:
            self.problems.append(
                f'`{path}`: expected the name of something registered, but got {describe(name)}'
            )
        elif found in REFUSED:
            self.problems.append(f'`{path}`: {found} is refused: {REFUSED[found]}')

        return found

    def _check_imports(self, imports: Any) -> None:
        if imports is None:
            return

        names = imports.get('imports') if isinstance(imports, Mapping) else None
        listed = [names] if isinstance(names, str) else names
        if not isinstance(listed, (list, tuple)) or not all(isinstance(n, str) for n in listed):
            self.problems.append(
                f'`custom_imports`: expected `imports` with names, but got {describe(imports)}'
            )
            return

        self.problems += [
            f'`custom_imports`: expected modules of morn_plugin or mmpretrain, but got {name!a:.60}'
            for name in listed
            if not IMPORTS.fullmatch(name)
        ]

    def _check_scope(self, scope: Any, path: str) -> None:
        allowed = (*SCOPES, 'morn_plugin')  # the last one from _base_ = 'morn_plugin::...'
        if scope is not None and scope not in allowed:
            self.problems.append(
                f'`{path}`: expected one of {", ".join(allowed)}, but got {describe(scope)}'
            )

    def _check_backend(self, value: Any, path: str) -> Any:
        """Allow only files on the local disk: other backends import what they are told to."""
        if value is not None and value not in LOCAL_DISK:
            self.problems.append(f'`{path}`: expected the local disk, but got {describe(value)}')
        return value

    def _check_value(
        self,
        value: Any,
        path: str,
        key: Any,
        section: str,
    ) -> None:
        wrong = None
        if isinstance(value, str):
            wrong = _find_wrong_text(value, str(key), path, section)
        elif isinstance(value, int):
            largest = LARGEST_BY_NAME.get(key, LARGEST.get(section))
            too_large = largest is not None and abs(value) > largest
            wrong = f'expected at most {largest:,}' if too_large else None

        if wrong:
            self.problems.append(f'`{path}`: {wrong}, but got {describe(value)}')


def _find_wrong_text(
    text: str,
    key: str,
    path: str,
    section: str,
) -> str | None:
    """Return the expected value if a text may refer to something outside, else None."""
    if section not in ('model', 'dataset', 'pipeline'):
        return None
    if '://' in text:
        return 'expected no URL'
    if key == 'dtype' and not re.fullmatch(r'\w+', text):  # MMPretrain evaluates it
        return 'expected the name of a type of numbers'

    if section == 'model':
        leads_out = text.startswith(('/', '~', '.')) or re.search(r'[:\\]|\.\.', text)
        names_file = FILE_WORDS & set(key.lower().split('_')) and text
        return 'expected no file' if leads_out or names_file else None

    if key == 'ann_file' and text.rpartition('.')[2].lower() not in ANNOTATION_ENDINGS:
        return f'expected a file that ends in {", ".join(ANNOTATION_ENDINGS)}' if text else None
    if path.endswith(f'metainfo.{key}') and re.search(r'[/\\]', text):
        return 'expected the value itself, not a file'  # MMEngine would read it

    return None


def _section(key: Any, within: str | None = None) -> str:
    """Name the part of a config that a key leads to."""
    if within is None:
        if key in ('model', 'tta_model', 'data_preprocessor'):
            return 'model'
        return 'loader' if str(key).endswith('_dataloader') else 'other'
    if within == 'loader':
        return 'dataset' if key == 'dataset' else 'loader'
    return 'pipeline' if within == 'dataset' and key == 'pipeline' else within


def _is_target_of_lora(path: str, pattern: Any) -> bool:
    """Return whether a ``type`` is LoRA's pattern of adapted layers, not a class."""
    is_target = re.search(r'\.targets\[\d+\]$', path) is not None
    return is_target and isinstance(pattern, str) and len(pattern) <= MAX_PATTERN


@cache
def _all_registries() -> tuple[Registry, ...]:
    found = [*vars(mmpretrain.registry).values(), *vars(mmengine.registry).values()]
    return tuple(item for item in found if isinstance(item, Registry))


def _registered(section: str) -> dict[str, Any]:
    """Return the registered names that a part of the config may use, with their classes."""
    registries: Iterable[Registry] = {
        'model': (mmpretrain.registry.BATCH_AUGMENTS, mmpretrain.registry.MODELS),
        'dataset': (mmpretrain.registry.DATASETS,),
        'pipeline': (mmpretrain.registry.TRANSFORMS,),
    }.get(section, _all_registries())
    found: dict[str, Any] = {}
    for registry in registries:
        registry.import_from_location()
        if registry.parent is not None:
            found |= registry.parent.module_dict
        found |= registry.module_dict

    return found


def _find_name(name: Any, registered: Mapping[str, Any]) -> str | None:
    """Return the bare name under which something is registered, or None.

    It may be written with a scope, as ``mmpretrain.ResNet``, or with its module, as in pure-Python
    configs, ``mmpretrain.models.ResNet``; the module must already be imported.
    """
    if not isinstance(name, str):
        return None
    if name in registered:
        return name

    module, _, last = name.rpartition('.')
    if module in SCOPES and last in registered:
        return last
    if module.partition('.')[0] not in (*SCOPES, 'morn_plugin', 'torch'):
        return None
    if module not in sys.modules:
        return None

    found = vars(sys.modules[module]).get(last)
    names = (key for key, item in registered.items() if item is found)
    return None if found is None else next(names, None)
