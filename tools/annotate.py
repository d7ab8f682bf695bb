"""Train a model on a folder of images and a table of their tags, in one command.

Guesses the format of the table, where no option gives it, and reports it; splits the images in
three; fine-tunes a CNN, trains the Multi-order RNN's decoder on its scores, and keeps the better
model on the validation images: the CNN alone or with the decoder, each with one calibrated
threshold. Tests once, writes one model, a report and pictures. The same command continues after an
interruption, and repeats nothing.
"""

import argparse
import signal
import sys
from pathlib import Path

from morn_plugin.datasets.converters.cli import add_lenient_arguments
from morn_plugin.datasets.converters.tags import add_reading_arguments
from morn_plugin.utils.checks import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('images', metavar='IMAGES', type=Path, help='folder of images')
    parser.add_argument(
        'tags',
        metavar='TAGS',
        type=Path,
        nargs='?',
        help='table of tags (default: IMAGES has one folder per tag)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/mine'),
        metavar='FOLDER',
        help='output folder (default: %(default)s)',
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='train a first model in a few minutes: small images, few epochs',
    )
    parser.add_argument(
        '--min-count',
        type=at_least(1),
        metavar='N',
        help='minimum number of images per tag (default: a hundredth of all, 5 to 20)',
    )
    parser.add_argument(
        '--image-size',
        type=at_least(32),
        metavar='PX',
        help='edge of the images (default: by data and hardware)',
    )
    parser.add_argument(
        '--epochs',
        type=at_least(1),
        metavar='N',
        help='of the CNN (default: by the number of images)',
    )
    add_lenient_arguments(parser)
    add_reading_arguments(parser)
    return parser.parse_args()


def interrupt(*_: object) -> None:
    """End like Ctrl-C, so that the running step ends too."""
    raise KeyboardInterrupt


def main() -> None:
    args = parse_args()
    from morn_plugin.apis.annotating import StepError, annotate, make_request
    from morn_plugin.datasets.annotations import AnnotationError

    signal.signal(signal.SIGTERM, interrupt)
    try:
        annotate(make_request(args))
    except (AnnotationError, ImportError, OSError, StepError, ValueError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print(f'\nStopped; the same command continues from {args.out}.', file=sys.stderr)
        sys.exit(130)


if __name__ == '__main__':
    main()
