"""Run the CNN once over a data set and cache what it gives, for training decoders without it.

The file gets the label probabilities; with --features and --feature-map also what methods need that
see more of an image.
"""

import argparse
import json
import os.path as osp
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

import morn_plugin
from morn_plugin.apis import add_common_arguments, load_config
from morn_plugin.apis.agreement import TESTING
from morn_plugin.apis.starting import build_runner, tidy_start
from morn_plugin.datasets.cached.writer import MAX_GB
from morn_plugin.datasets.wrapping import innermost, with_pipeline
from morn_plugin.engine.distributed import unwrap
from morn_plugin.utils.files import sha256
from morn_plugin.utils.next_steps import next_step


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


def use_split(cfg: Config, split: str) -> ConfigDict:
    """Test on the data of a split, seen through the test pipeline: no augmentation, in order.

    Returns:
        The config of its innermost data set; of several, of the first.
    """
    loader = cfg.get(f'{split}_dataloader')
    if loader is None:
        raise SystemExit(
            f'{cfg.filename}: expected `{split}_dataloader`, since --split {split} was asked for, '
            'but the config has none.'
        )
    pipeline = next(innermost(cfg.test_dataloader.dataset)).pipeline
    dataset = with_pipeline(loader.dataset, pipeline, test_mode=True)
    cfg.test_dataloader.dataset = ConfigDict(type='NumberedDataset', dataset=dataset)
    return next(innermost(dataset))


def provenance(cfg: Config, args: argparse.Namespace, dataset: ConfigDict) -> dict[str, str]:
    """Say where the file comes from."""
    as_json = lambda value: json.dumps(value, default=str)
    return dict(
        config=osp.basename(args.config),
        model=as_json(cfg.model.to_dict()),
        split=args.split,
        checkpoint=osp.basename(args.checkpoint),
        checkpoint_sha256=sha256(args.checkpoint),
        transforms=as_json(list(map(dict, dataset.pipeline))),
        ann_file=osp.basename(dataset.get('ann_file', '')),
        version=morn_plugin.__version__,
    )


def image_folder(dataset: ConfigDict) -> str:
    """Return the folder that image paths are written relative to."""
    prefix: Any = dataset.get('data_prefix', '')
    prefix = prefix if isinstance(prefix, str) else prefix.get('img_path', '')
    return osp.join(dataset.get('data_root', ''), prefix)


def extract(runner: Runner, inputs: tuple[str, ...], origin: dict[str, str]) -> float:
    """Write the file, and return the number of images in it."""
    model = unwrap(runner.model)
    if inputs:
        model.keep_inputs(inputs)
    (metric,) = runner.test_evaluator.metrics
    metric.provenance = origin
    metric.item = 'cnn_score' if getattr(model.head, 'has_cnn', False) else 'pred_score'
    metric.read_dataset(runner.test_dataloader.dataset)

    try:
        return runner.test()['scores/images']
    except BaseException:
        metric.writer.discard()
        raise


def main() -> None:
    args = parse_args()
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
        images = extract(runner, inputs, provenance(cfg, args, dataset))
    held = ', '.join(['scores', *inputs])
    runner.logger.info(f'Wrote {held} of {images:.0f} images to {args.out}.')
    runner.logger.info(
        next_step('train', 'CONFIG', to='train a decoder on such files of each side')
    )


if __name__ == '__main__':
    main()
