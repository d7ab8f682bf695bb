"""Run the CNN once over a data set and keep its label probabilities.

For training decoders without it.
"""

import argparse
import copy
import json
import os.path as osp

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

import morn_plugin
from morn_plugin.apis import add_common_arguments, load_config
from morn_plugin.datasets.score_file import sha256


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint of the CNN')
    parser.add_argument('out', help='score file to write (.safetensors)')
    parser.add_argument(
        '--split',
        choices=['train', 'val', 'test'],
        default='test',
        help='which data set (default: test)',
    )
    return parser.parse_args()


def use_split(cfg: Config, split: str) -> ConfigDict:
    """Test on the data of a split, seen through the test pipeline.

    No augmentation, in order. Returns its data set.
    """
    dataset = cfg[f'{split}_dataloader'].dataset
    pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.test_dataloader.dataset = ConfigDict(
        copy.deepcopy(dict(dataset, pipeline=pipeline, test_mode=True))
    )
    return cfg.test_dataloader.dataset


def provenance(cfg: Config, args: argparse.Namespace, dataset: ConfigDict) -> dict[str, str]:
    return dict(
        config=osp.basename(args.config),
        model=json.dumps(cfg.model.to_dict(), default=str),
        split=args.split,
        checkpoint=osp.basename(args.checkpoint),
        checkpoint_sha256=sha256(args.checkpoint),
        transforms=json.dumps(list(map(dict, dataset.pipeline)), default=str),
        ann_file=osp.basename(dataset.get('ann_file', '')),
        version=morn_plugin.__version__,
    )


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    dataset = use_split(cfg, args.split)
    prefix = dataset.get('data_prefix', '')
    img_prefix = osp.join(
        dataset.get('data_root', ''),
        prefix if isinstance(prefix, str) else prefix.get('img_path', ''),
    )
    cfg.load_from = args.checkpoint
    cfg.test_evaluator = [
        dict(
            type='DumpScores',
            out=args.out,
            img_prefix=img_prefix,
            provenance=provenance(cfg, args, dataset),
        )
    ]
    cfg.custom_hooks = [dict(type='ProgressHook', title=f'Scores of {args.split}')]
    runner = Runner.from_cfg(cfg)
    images = runner.test()['scores/images']
    runner.logger.info(f'Wrote the scores of {images:.0f} images to {args.out}.')


if __name__ == '__main__':
    main()
