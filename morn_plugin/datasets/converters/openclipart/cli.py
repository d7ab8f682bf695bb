"""The command line of the converter."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .conversion import convert
from .keywords import MINI_CLASSES
from .packages import source_folder
from .plan import MINI, Plan
from .readme import describe

DESCRIPTION = """Convert the Open Clip Art Library to images and MultiLabelDataset JSON.

The library (0.18, public domain) comes as the Debian packages openclipart-png
(the pictures) and openclipart-svg (their keywords). Into the new folder OUT go:
  images/                      RGB on white, aspect ratio kept
  train.json, test.json        the two sides
  train_fit.json, val.json     which share out train.json once more
  report.json, README.md       everything that was counted, left out or changed
The folder appears when all of it is there, and its bytes depend on the packages
and the options alone."""


def run(argv: Sequence[str] | None = None) -> int:
    """Convert the library by the options of the command line.

    Args:
        argv: Arguments; defaults to those of the process.

    Returns:
        0, or 1 after an error. The error is printed to stderr.
    """
    args = parse_args(argv)
    plan = make_plan(args)

    try:
        with source_folder(args.unpacked, args.deb) as source:
            report = convert(source, args.out, plan, command_line(args, plan))
    except (OSError, RuntimeError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1

    print(describe(report))
    return 0


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the process if it is wrong."""
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', type=Path, help='folder to make; must be empty or not exist yet')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        '--download', action='store_true', help='get the packages with apt-get (156 MB, no root)'
    )
    source.add_argument('--deb', type=Path, nargs='+', metavar='FILE', help='the two package files')
    source.add_argument(
        '--unpacked', type=Path, metavar='DIR', help='where the packages are unpacked'
    )
    parser.add_argument(
        '--mini',
        action='store_true',
        help=f'make the small slice: {len(MINI_CLASSES)} labels, pictures with two or '
        f'more of them, {MINI.size} px, lossy WebP',
    )
    parser.add_argument(
        '--size',
        type=int,
        help='longest side of the images in pixels '
        f'(default: {Plan.size}, or {MINI.size} with --mini)',
    )
    parser.add_argument(
        '--min-count',
        type=int,
        default=Plan.min_count,
        help='a keyword on at least so many pictures is a label; --mini has its own list '
        f'(default: {Plan.min_count})',
    )
    parser.add_argument(
        '--merge-copies',
        action='store_true',
        help='make one picture, with all keywords, of files with the same bytes; '
        '--mini always does',
    )
    parser.add_argument(
        '--max-images',
        type=int,
        help='keep at most so many pictures, drawn by content, once labels are chosen',
    )

    args = parser.parse_args(argv)
    for name in ('size', 'min_count', 'max_images'):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(
                f'argument --{name.replace("_", "-")}: expected a positive number, but got {value}'
            )

    return args


def make_plan(args: argparse.Namespace) -> Plan:
    """Combine the command line with the defaults of the chosen set."""
    base = MINI if args.mini else Plan()
    return Plan(
        size=args.size or base.size,
        suffix=base.suffix,
        classes=base.classes,
        min_count=args.min_count,
        merge_copies=base.merge_copies or args.merge_copies,
        min_labels=base.min_labels,
        max_images=args.max_images,
    )


def command_line(args: argparse.Namespace, plan: Plan) -> str:
    """Return the command without paths of this machine."""
    base = MINI if args.mini else Plan()
    words = ['python tools/dataset_converters/openclipart.py', 'OUT', '--download']
    if args.mini:
        words.append('--mini')

    for name in ('size', 'min_count', 'max_images'):
        if getattr(plan, name) != getattr(base, name):
            words += [f'--{name.replace("_", "-")}', str(getattr(plan, name))]

    if plan.merge_copies and not base.merge_copies:
        words.append('--merge-copies')
    return ' '.join(words)
