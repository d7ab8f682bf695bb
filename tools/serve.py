"""Serve a page on this machine: drop images, see labels, scores, steps and path.

Only this machine can reach the page, unless --host is given; nothing is sent anywhere. Uploads are
deleted once read; shown images are kept shrunk for a limited time.
"""

import argparse
import signal
import sys

from morn_plugin.deploy.limits import Limits
from morn_plugin.utils.arguments import add_model_arguments
from morn_plugin.utils.checks import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_arguments(parser)
    parser.add_argument(
        '--examples',
        nargs='+',
        help='images to offer (default: some test images of the config)',
    )
    parser.add_argument(
        '--thresholds',
        metavar='FILE',
        help='thresholds from tools/analysis/calibrate.py; the slider overrides them',
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on (default: 127.0.0.1, only this machine)',
    )
    parser.add_argument('--port', type=int, default=7860)
    add_limits(parser)
    return parser.parse_args()


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the limits of the page."""
    for name, text in (
        ('max_images', 'images at once'),
        ('max_megabytes', 'of a file'),
        ('max_pixels', 'of an image'),
    ):
        default = getattr(Limits, name)
        parser.add_argument(
            f'--{name.replace("_", "-")}',
            type=at_least(1),
            default=default,
            help=f'{text} (default: {default})',
        )


def main() -> None:
    args = parse_args()
    from morn_plugin.apis import MultiLabelInferencer
    from morn_plugin.apis.web_page import find_examples, launch, open_page
    from morn_plugin.deploy.images import list_images
    from morn_plugin.deploy.labels import load_thresholds

    limits = Limits(args.max_images, args.max_megabytes, args.max_pixels)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that open files are cleaned up
    try:
        inferencer = MultiLabelInferencer(
            args.model, args.config, args.device, trust_config=args.trust_config
        )
        thresholds = None
        if args.thresholds:
            inferencer.require_threshold('for --thresholds')
            thresholds = load_thresholds(args.thresholds, inferencer.classes).thr

        examples = list_images(args.examples) if args.examples else find_examples(inferencer)
        with open_page(inferencer, examples, thresholds, limits) as (page, _):
            launch(page, args.host, args.port, limits)
            print(f'Serving on http://{args.host}:{args.port}', flush=True)
            page.block_thread()
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))


if __name__ == '__main__':
    main()
