"""Run the CNN once over a data set and cache its outputs, to train decoders without it.

The file has the label probabilities; with --features and --feature-map also further inputs of
methods. The images are those of a data set of the config, or with --images and --list any others,
without labels in the file.
"""

import argparse
import copy
import sys
from typing import Any

from morn_plugin.utils.arguments import SPLITS, add_common_arguments, add_stream_arguments
from morn_plugin.utils.checks import at_least
from morn_plugin.utils.limits import MAX_GB

PLACE = '{split}'


def parse_splits(text: str) -> list[str]:
    """Return the names of data sets in a list with commas.

    Raises:
        argparse.ArgumentTypeError: If there is another name.
    """
    names = text.split(',')
    wrong = [name for name in names if name not in SPLITS]
    if wrong:
        raise argparse.ArgumentTypeError(
            f'expected {", ".join(SPLITS)}, or several of them with commas, but got {text!r}'
        )

    return names


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint of the CNN')
    parser.add_argument('out', help='cached file to write (.safetensors)')
    parser.add_argument(
        '--split',
        type=parse_splits,
        default=['test'],
        metavar='SPLIT',
        help='train, val or test (default: test); several, such as train,val, make one file each '
        "and need '{split}' in OUT, which stands for the name",
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
    parser.add_argument(
        '--images',
        nargs='+',
        default=[],
        metavar='IMAGE',
        help='instead of a data set: files, folders, patterns, URLs, .tar files',
    )
    add_stream_arguments(parser)
    parser.add_argument(
        '--batch-size', type=at_least(1), default=32, help='of --images and --list (default: 32)'
    )
    args = parser.parse_args()
    if len(args.split) > 1 and PLACE not in args.out:
        parser.error(
            f'several splits need {PLACE!r} in OUT, such as scores_{PLACE}.safetensors, but got '
            f'{args.out!r}'
        )
    if (args.images or args.list) and (args.cfg_options or args.launcher != 'none'):
        parser.error(
            '--images and --list take the config as it is, and one process: give no '
            '--cfg-options, and divide the images by --shard'
        )

    return args


def chosen_inputs(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the names of the additional inputs in the file."""
    inputs: tuple[str, ...] = ()
    if args.features:
        inputs += ('logits', 'features')
    if args.feature_map:
        inputs += ('feature_map',)
    if args.stage_maps:
        inputs += ('stage_maps',)
    return inputs


def extract_datasets(args: argparse.Namespace, cfg: Any, out: str) -> None:
    """Extract data sets of the config, one after the other."""
    for split in args.split:
        extract_dataset(args, copy.deepcopy(cfg), split, out.replace(PLACE, split))


def extract_dataset(
    args: argparse.Namespace,
    cfg: Any,
    split: str,
    out: str,
) -> None:
    """Extract a data set of the config."""
    from morn_plugin.apis.agreement import TESTING
    from morn_plugin.apis.extracting import (
        extract,
        image_folder,
        note_shard,
        provenance,
        use_split,
    )
    from morn_plugin.apis.starting import build_runner, tidy_start
    from morn_plugin.utils.next_steps import next_step

    dataset = use_split(cfg, split, args.shard)
    inputs = chosen_inputs(args)
    cfg.load_from = args.checkpoint

    cfg.resume = False
    cfg.test_evaluator = dict(
        type='DumpScores',
        out=out,
        img_prefix=image_folder(dataset),
        provenance={},
        inputs=inputs,
        max_gb=args.max_gb,
    )
    cfg.custom_hooks = [dict(type='ProgressHook', title=f'Scores of {split}')]

    with tidy_start(cfg) as watch:
        runner = build_runner(cfg, args.config, watch, TESTING)
        origin = provenance(cfg, args.config, split, args.checkpoint, dataset)
        images = extract(runner, inputs, origin)

    note_shard(args.shard, out, origin, images)
    held = ', '.join(['scores', *inputs])
    runner.logger.info(f'Wrote {held} of {images:.0f} images to {out}.')
    step = next_step('train', 'CONFIG', to='train a decoder on such files of each side')
    if args.shard.total > 1:
        step = next_step(
            'merge_shards', args.out.replace(PLACE, split), to='merge the shards once all are done'
        )
    runner.logger.info(step)


def extract_others(
    args: argparse.Namespace,
    cfg: Any,
    out: str,
) -> None:
    """Extract images without a data set."""
    from morn_plugin.apis.extracting import provenance
    from morn_plugin.apis.extracting_images import extract_images, report
    from morn_plugin.apis.inferencer import MultiLabelInferencer, find_dataset, list_remote
    from morn_plugin.deploy.image_streams import ImageStream

    try:
        stream = ImageStream(
            args.images, args.list, args.shard, args.trust_lists, args.allow_private
        )
        stream.expand = list_remote
        inferencer = MultiLabelInferencer(args.checkpoint, args.config)
        origin = provenance(cfg, args.config, 'images', args.checkpoint, find_dataset(cfg))
        origin['ann_file'] = ''
        outcome = extract_images(
            inferencer, stream, out, chosen_inputs(args), origin, args.batch_size, args.max_gb
        )
    except (OSError, ValueError) as error:
        sys.exit(str(error))

    report(outcome)
    read = outcome.images - outcome.failed
    print(f'Wrote {", ".join(["scores", *chosen_inputs(args)])} of {read} images to {out}.')
    if outcome.failed:
        sys.exit(f'{outcome.failed} of {outcome.images} images could not be read.')


def main() -> None:
    args = parse_args()
    from morn_plugin.apis import load_config

    run = extract_others if args.images or args.list else extract_datasets
    run(args, load_config(args), str(args.shard.path(args.out)))


if __name__ == '__main__':
    main()
