"""Put a decoder that was trained on cached scores behind the CNN that gave them."""

import argparse

import torch
from mmengine.config import Config

from morn_plugin import registration  # noqa: F401  lets MMEngine's checkpoints load safely
from morn_plugin.datasets.annotations import compare_classes
from morn_plugin.datasets.cached import check_origin
from morn_plugin.engine.checkpoints import load_checkpoint

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
    if 'classes' in cnn_meta:
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
    cnn, decoder = map(load_checkpoint, (args.cnn, args.decoder))
    merged = merge(cnn, decoder, args.cnn, args.decoder)
    if args.config:
        merged['meta']['cfg'] = Config.fromfile(args.config).pretty_text
    torch.save(merged, args.out)
    print(f'Wrote {args.out}: the CNN of {args.cnn} with the decoder of {args.decoder}.')


if __name__ == '__main__':
    main()
