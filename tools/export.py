"""Export a model to ONNX, or to a torch.export program (.pt2).

The file is checked on real images before it is kept.
"""

import argparse
import sys
from pathlib import Path

from morn_plugin.utils.arguments import add_config_arguments
from morn_plugin.utils.checks import at_least
from morn_plugin.utils.limits import MIN_CHECKED_IMAGES


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='work folder or checkpoint')
    add_config_arguments(parser)
    parser.add_argument('--out', required=True, metavar='FILE', help='.onnx or .pt2 to write')
    parser.add_argument(
        '--images',
        nargs='+',
        help='images to check on (default: test images of the config)',
    )
    parser.add_argument(
        '--num-images',
        type=at_least(MIN_CHECKED_IMAGES),
        default=16,
        help='number of images (default: 16)',
    )
    parser.add_argument(
        '--thresholds',
        metavar='FILE',
        help='thresholds from tools/analysis/calibrate.py, to store in the file',
    )
    args = parser.parse_args()
    if not args.out.endswith(('.onnx', '.pt2')):
        parser.error(f'--out {args.out}: expected a name that ends in .onnx or .pt2')
    return args


def main() -> None:
    args = parse_args()
    from morn_plugin.apis import MultiLabelInferencer
    from morn_plugin.apis.checked_export import export_checked, find_images
    from morn_plugin.deploy.labels import load_thresholds
    from morn_plugin.utils.next_steps import next_step

    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        inferencer = MultiLabelInferencer(
            args.model, args.config, 'cpu', trust_config=args.trust_config
        )
        thr = load_thresholds(args.thresholds, inferencer.classes).thr if args.thresholds else None
        paths = find_images(inferencer, args.images, args.num_images)
        agreement = export_checked(inferencer, out, paths, thr)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))

    print(f'Done: {out} ({out.stat().st_size / 1e6:.1f} MB). {agreement}')
    if out.suffix == '.onnx':
        print(next_step('predict', out, 'IMAGES', to='label images without torch'))


if __name__ == '__main__':
    main()
