"""Merge a decoder trained on cached scores with the CNN of these scores."""

import argparse
import os
import sys

from morn_plugin.utils.layout import find_config_file


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('cnn', help='checkpoint of the CNN with which the scores were extracted')
    parser.add_argument('decoder', help='checkpoint of the decoder trained on the scores')
    parser.add_argument('out', help='checkpoint to write, for the image config')
    parser.add_argument(
        '--config',
        type=find_config_file,
        help='the image config, to store in the checkpoint for predict.py',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if any(os.path.realpath(args.out) == os.path.realpath(p) for p in (args.cnn, args.decoder)):
        sys.exit(f'{args.out}: write to a different file than the merged ones.')
    import torch

    from morn_plugin.apis.merging import add_config, merge
    from morn_plugin.engine.checkpoint_content import read_model_checkpoint
    from morn_plugin.engine.checkpoints import CheckpointError
    from morn_plugin.utils.files import atomic_write
    from morn_plugin.utils.next_steps import next_step

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
