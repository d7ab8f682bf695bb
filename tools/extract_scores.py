"""Run the CNN once over a data set and cache its outputs, to train decoders without it.

The file holds the label probabilities; with --features and --feature-map also the inputs of methods
that see more of an image.
"""

import argparse

from morn_plugin.utils.arguments import add_common_arguments
from morn_plugin.utils.limits import MAX_GB


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint of the CNN')
    parser.add_argument('out', help='cached file to write (.safetensors)')
    parser.add_argument(
        '--split',
        choices=['train', 'val', 'test'],
        default='test',
        help='which data set (default: test)',
    )
    parser.add_argument(
        '--features', action='store_true', help='keep the logits and the pooled features as well'
    )
    parser.add_argument(
        '--feature-map',
        action='store_true',
        help='keep the feature map of the last stage (float16)',
    )
    parser.add_argument(
        '--stage-maps',
        action='store_true',
        help="keep the maps of all of the backbone's `out_indices` (float16)",
    )
    parser.add_argument(
        '--max-gb',
        type=float,
        default=MAX_GB,
        help='refuse to write a file larger than this (default: %(default)g)',
    )
    return parser.parse_args()


def chosen_inputs(args: argparse.Namespace) -> tuple[str, ...]:
    """Name what the file gets beside the scores."""
    inputs: tuple[str, ...] = ()
    if args.features:
        inputs += ('logits', 'features')
    if args.feature_map:
        inputs += ('feature_map',)
    if args.stage_maps:
        inputs += ('stage_maps',)
    return inputs


def main() -> None:
    args = parse_args()
    from morn_plugin.apis import load_config
    from morn_plugin.apis.agreement import TESTING
    from morn_plugin.apis.extracting import extract, image_folder, provenance, use_split
    from morn_plugin.apis.starting import build_runner, tidy_start
    from morn_plugin.utils.next_steps import next_step

    cfg = load_config(args)
    dataset = use_split(cfg, args.split)
    inputs = chosen_inputs(args)

    cfg.load_from, cfg.resume = args.checkpoint, False
    cfg.test_evaluator = dict(
        type='DumpScores',
        out=args.out,
        img_prefix=image_folder(dataset),
        provenance={},
        inputs=inputs,
        max_gb=args.max_gb,
    )
    cfg.custom_hooks = [dict(type='ProgressHook', title=f'Scores of {args.split}')]

    with tidy_start(cfg) as watch:
        runner = build_runner(cfg, args.config, watch, TESTING)
        origin = provenance(cfg, args.config, args.split, args.checkpoint, dataset)
        images = extract(runner, inputs, origin)
    held = ', '.join(['scores', *inputs])
    runner.logger.info(f'Wrote {held} of {images:.0f} images to {args.out}.')
    runner.logger.info(
        next_step('train', 'CONFIG', to='train a decoder on such files of each side')
    )


if __name__ == '__main__':
    main()
