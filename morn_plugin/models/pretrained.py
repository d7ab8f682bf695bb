"""ImageNet weights for a backbone.

Every parameter is loaded, or an error says what to do.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

OPTION = '--cfg-options model.backbone.init_cfg.checkpoint=FILE'
# How a file's keys become the backbone's: (prefix to remove, prefix to add), for OpenMMLab's
# classifiers, plain models of torchvision and timm, and models saved from DataParallel.
RENAMINGS = (
    ('', ''),
    ('backbone.', ''),
    ('module.', ''),
    ('module.backbone.', ''),
    ('', 'timm_model.'),
)
# buffers that weights need not contain
DERIVED = (
    'num_batches_tracked',
    'relative_position_index',
    'attn_mask',
)


def take_pretrained(backbone: BaseModule) -> list[dict[str, Any]]:
    """Remove and return the ``Pretrained`` entries of a backbone's ``init_cfg``."""
    init_cfg = getattr(backbone, 'init_cfg', None) or []
    entries = [init_cfg] if isinstance(init_cfg, Mapping) else list(init_cfg)
    taken = [dict(entry) for entry in entries if entry.get('type') == 'Pretrained']
    if taken:
        backbone.init_cfg = [entry for entry in entries if entry.get('type') != 'Pretrained']
    return taken


def load_pretrained(
    backbone: nn.Module,
    checkpoint: str,
    prefix: str | None = None,
    map_location: str = 'cpu',
) -> None:
    """Load weights into a backbone, in the naming of torchvision, timm or OpenMMLab.

    Args:
        backbone: The module to load into.
        checkpoint: A file, a URL, or ``torchvision://resnet101`` and the like.
        prefix: Use the keys that start with this. Defaults to None: the prefix that fits most keys
            of the backbone.
        map_location: Device of the loaded tensors.

    Raises:
        ValueError: If the weights cannot be loaded, or a backbone parameter stays unset; names
            checkpoint and option.
    """
    state = read_state_dict(checkpoint, map_location)
    renamings: Iterable[tuple[str, str]] = (
        RENAMINGS if prefix is None else ((prefix.rstrip('.') + '.', ''),)
    )
    wanted = backbone.state_dict().keys()
    candidates = [_rename(state, *renaming) for renaming in renamings]
    best = max(candidates, key=lambda candidate: len(wanted & candidate.keys()))

    try:
        missing, unexpected = backbone.load_state_dict(best, strict=False)
    except RuntimeError as error:
        raise ValueError(
            f'The weights of {checkpoint} do not fit {type(backbone).__name__}: {error}'
        ) from error

    missing = [name for name in missing if not name.endswith(DERIVED)]
    if missing:
        raise ValueError(
            f'{checkpoint} does not contain the weights of this {type(backbone).__name__}: '
            f'{len(missing)} of its {len(wanted)} tensors are not there, such as {missing[0]!r}; '
            f'the file has keys such as {next(iter(state), None)!r}. Name a checkpoint of the same '
            f'architecture: {OPTION}'
        )

    print_log(
        f'Backbone filled from {checkpoint}; keys that it has no use for: {unexpected or "none"}.',
        'current',
    )


def read_state_dict(checkpoint: str, map_location: str = 'cpu') -> dict[str, Tensor]:
    """Read or download a checkpoint and return its state dict.

    Raises:
        ValueError: If that fails; names the checkpoint and the option for a local file.
    """
    try:
        content = CheckpointLoader.load_checkpoint(checkpoint, map_location)
    except (
        Exception
    ) as error:  # no network, no file, a proxy's error page, a truncated file: many types
        remote = '://' in checkpoint
        raise ValueError(
            f"Cannot {'download' if remote else 'read'} the backbone's pretrained weights "
            f'{checkpoint} ({type(error).__name__}: {error}). Pass a local file with {OPTION}'
            + (' (download it where there is a network)' if remote else '')
            + ', or start from random weights with --cfg-options model.backbone.init_cfg=None'
        ) from error

    state = content.get('state_dict', content) if isinstance(content, Mapping) else None
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(
            f'Expected {checkpoint} to be a state dict or a checkpoint with a `state_dict`, but '
            f'got {type(content).__name__}. Pass another file with {OPTION}'
        )

    return dict(state)


def _rename(
    state: Mapping[str, Tensor],
    take_away: str,
    add: str,
) -> dict[str, Tensor]:
    return {
        add + name[len(take_away) :]: value
        for name, value in state.items()
        if name.startswith(take_away)
    }
