"""Put a decoder that was trained on cached scores behind the CNN that gave them."""

import argparse
import os
import sys

import torch
from mmpretrain.registry import MODELS

from morn_plugin import registration  # noqa: F401  lets MMEngine's checkpoints load safely
from morn_plugin.apis.agreement import fill_num_classes, find_head
from morn_plugin.apis.finding import read_own_config
from morn_plugin.datasets.annotations import compare_classes
from morn_plugin.datasets.cached import check_origin
from morn_plugin.engine.checkpoint_content import read_model_checkpoint
from morn_plugin.engine.checkpoints import CheckpointError
from morn_plugin.engine.weights import load_weights
from morn_plugin.utils.files import atomic_write
from morn_plugin.utils.next_steps import next_step

DECODER = 'head.decoder.'
PARTS = (DECODER, 'head.decision.')  # what was trained without the CNN


def merge(cnn: dict, decoder: dict, cnn_path: str, decoder_path: str) -> dict:
    """Return a checkpoint with the CNN's weights, and the decoder's with its decision rule's.

    Raises:
        ValueError: If the decoder has none, or was trained on scores of another CNN or for other
            classes.
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
    return dict(
        meta=dict(dataset_meta=dict(classes=tuple(meta['classes']))), state_dict={**kept, **weights}
    )


def add_config(merged: dict, path: str) -> None:
    """Keep a config in a checkpoint, if its model is the one that the checkpoint holds.

    Raises:
        ValueError: Names what of the checkpoint and the model does not fit.
    """
    cfg = read_own_config(path)
    head = find_head(cfg)
    if head is not None:
        fill_num_classes(head, len(merged['meta']['dataset_meta']['classes']))
    settings = cfg.model.to_dict()
    if settings.get('backbone', {}).get('pretrained'):
        settings['backbone']['pretrained'] = False  # all weights are there

    misfits = load_weights(MODELS.build(settings), merged['state_dict'])
    lines = misfits.describe(misfits.unset)
    if lines:
        listed = ''.join(f'\n- {line}' for line in lines)
        raise ValueError(f'{path} is not the config of what was merged:{listed}')
    merged['meta']['cfg'] = cfg.pretty_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'cnn', help='checkpoint of the CNN, the one that the scores were extracted with'
    )
    parser.add_argument('decoder', help='checkpoint of the decoder trained on the scores')
    parser.add_argument('out', help='checkpoint to write, for the image config')
    parser.add_argument(
        '--config', help='the image config, to be kept in the checkpoint, where predict.py finds it'
    )
    args = parser.parse_args()
    if any(os.path.realpath(args.out) == os.path.realpath(p) for p in (args.cnn, args.decoder)):
        sys.exit(f'{args.out}: write to another file than those that are merged.')
    try:
        cnn, decoder = map(read_model_checkpoint, (args.cnn, args.decoder))
        merged = merge(cnn, decoder, args.cnn, args.decoder)
        if args.config:
            add_config(merged, args.config)
        with atomic_write(args.out) as file:
            torch.save(merged, file)
    except (CheckpointError, OSError, ValueError) as error:
        sys.exit(str(error))
    print(f'Wrote {args.out}: the CNN of {args.cnn} with the decoder of {args.decoder}.')
    if args.config:
        print(next_step('predict', args.out, 'IMAGES', to='label images'))
    else:
        print(next_step('test', 'CONFIG', args.out, to='test it on images'))


if __name__ == '__main__':
    main()
