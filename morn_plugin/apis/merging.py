"""Merges a decoder trained on cached scores with the CNN of these scores."""

from mmengine.logging import MMLogger
from mmpretrain.registry import MODELS

from ..datasets.annotations import compare_classes
from ..datasets.cached import check_origin
from ..engine.kept_thresholds import pass_on_thresholds
from ..engine.screen import shorten_screen
from ..engine.weights import load_weights
from .agreement import fill_num_classes, find_head
from .finding import read_own_config

DECODER = 'head.decoder.'
PARTS = (DECODER, 'head.decision.')  # the parts trained without the CNN


def merge(
    cnn: dict,
    decoder: dict,
    cnn_path: str,
    decoder_path: str,
) -> dict:
    """Return a checkpoint with the weights of the CNN, the decoder and its decision rule.

    Raises:
        ValueError: If the decoder has no weights, or was trained on scores of a different CNN or
            for different classes.
    """
    weights = {
        name: tensor for name, tensor in decoder['state_dict'].items() if name.startswith(PARTS)
    }
    if not any(name.startswith(DECODER) for name in weights):
        raise ValueError(f'{decoder_path}: expected weights named {DECODER}*, but got none.')

    meta = decoder['meta'].get('dataset_meta', {})
    check_origin(
        dict(checkpoint_sha256=meta.get('cnn_checkpoint_sha256', '')), cnn_path, decoder_path
    )
    cnn_meta = (cnn.get('meta') or {}).get('dataset_meta') or {}
    if not meta.get('classes'):
        raise ValueError(f'{decoder_path}: expected `meta.dataset_meta.classes`, but got none.')
    if cnn_meta.get('classes') is not None:
        compare_classes(
            meta['classes'],
            cnn_meta['classes'],
            f'{decoder_path}: the classes',
            f'the CNN {cnn_path}',
        )

    kept = {
        name: tensor for name, tensor in cnn['state_dict'].items() if not name.startswith(PARTS)
    }
    merged_meta = dict(
        dataset_meta=dict(classes=tuple(meta['classes'])), **pass_on_thresholds(decoder, cnn)
    )
    return dict(meta=merged_meta, state_dict={**kept, **weights})


def add_config(merged: dict, path: str) -> None:
    """Store a config in a checkpoint, if the checkpoint fits its model.

    Raises:
        ValueError: Names the tensors of checkpoint and model that do not fit.
    """
    cfg = read_own_config(path)
    head = find_head(cfg)
    if head is not None:
        fill_num_classes(head, len(merged['meta']['dataset_meta']['classes']))
    settings = cfg.model.to_dict()
    if settings.get('backbone', {}).get('pretrained'):
        settings['backbone']['pretrained'] = False  # all weights are there

    shorten_screen(MMLogger.get_current_instance())
    misfits = load_weights(MODELS.build(settings), merged['state_dict'])
    lines = misfits.describe(misfits.unset)
    if lines:
        listed = ''.join(f'\n- {line}' for line in lines)
        raise ValueError(f'{path} is not the config of the merged model:{listed}')

    merged['meta']['cfg'] = cfg.pretty_text
