"""The command line that all converters share."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from morn_plugin.datasets.annotations import AnnotationError, dump_annotations
from morn_plugin.utils.checks import at_least
from morn_plugin.utils.files import atomic_write
from morn_plugin.utils.next_steps import next_step

from .base import Converter, Parsed
from .report import Checked, check_disjoint, check_split, print_report, rows_of

SIDE_FILES = ('train.json', 'train_fit.json', 'val.json', 'test.json')


def run(converter: Converter, argv: Sequence[str] | None = None) -> int:
    """Convert a data set from the command line.

    Args:
        converter: The data set.
        argv: Arguments; defaults to those of the process.

    Returns:
        0, or 1 after an error. The error is printed to stderr.
    """
    args = parse_args(converter, argv)
    try:
        convert(converter, args)
    except (AnnotationError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(next_step('train', 'CONFIG', to='train on it by a config (configs/README.md)'))
    return 0


def convert(converter: Converter, args: argparse.Namespace) -> Parsed:
    """Read, check, report and write; an error leaves all annotation files unchanged.

    Args:
        converter: The data set.
        args: The result of :func:`parse_args`.

    Returns:
        The written sides, and the notes.

    Raises:
        AnnotationError: If the input cannot be used, images are missing without
            ``--allow-missing``, or a different result exists without ``--overwrite``.
        OSError: If a file cannot be read or written.
    """
    if not args.root.is_dir():
        raise NotADirectoryError(f'{args.root} is not a directory.')

    out_dir = args.out_dir or args.root
    parsed = converter.parse(args)
    checked = {
        name: check_split(
            name, split, args.root, args.workers, args.follow_links, args.allow_repeats
        )
        for name, split in parsed.splits.items()
    }
    _report(checked, parsed.notes, args.drop_unlabelled)

    sides = {name: side.split for name, side in checked.items()}
    for apart in parsed.apart():
        check_disjoint({name: sides[name] for name in apart})

    _settle_missing(checked, out_dir, args.allow_missing)

    kept = {name: side.kept(args.drop_unlabelled) for name, side in checked.items()}
    for name, split in kept.items():
        if not split.images:
            raise AnnotationError(f'{name}: no images are left to write.')

    files = {
        f'{name}.json': dump_annotations(split.annotations(), f'{name}.json')
        for name, split in kept.items()
    }
    _write(out_dir, files, parsed.files, args.overwrite)
    for name, split in kept.items():
        print(f'Wrote {len(split.images):,} images to {out_dir / name}.json')

    return replace(parsed, splits=kept)


def _report(
    checked: Mapping[str, Checked],
    notes: Sequence[str],
    drop_unlabelled: bool,
) -> None:
    console = Console()
    for name, side in checked.items():
        print_report(console, name, rows_of(side, drop_unlabelled))
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def _settle_missing(
    checked: dict[str, Checked],
    out_dir: Path,
    allow: bool,
) -> None:
    lists = []
    for name, side in checked.items():
        path = out_dir / f'missing_{name}.txt'
        if not side.missing:
            path.unlink(missing_ok=True)  # the list of an earlier run is outdated
            continue

        with atomic_write(path) as file:
            file.write(''.join(f'{image.img_path}\n' for image in side.missing).encode())
        lists.append(f'{path} ({len(side.missing):,} of {len(side.split.images):,})')
        print(
            f'{side.missing[0].where}: {side.missing[0].img_path!r} is the first of '
            f'{len(side.missing):,} {name} images not found (or empty).',
            file=sys.stderr,
        )

    if lists and not allow:
        raise AnnotationError(
            f'images are missing, listed in {", ".join(lists)}. Pass --allow-missing to '
            'continue without them.'
        )


def _write(
    out_dir: Path,
    sides: Mapping[str, bytes],
    others: Mapping[str, str],
    overwrite: bool,
) -> None:
    """Write all files, unless a different result exists."""
    changed = [
        name
        for name, content in sides.items()
        if (out_dir / name).exists() and (out_dir / name).read_bytes() != content
    ]
    stale = [name for name in SIDE_FILES if name not in sides and (out_dir / name).exists()]
    if (changed or stale) and not overwrite:
        raise AnnotationError(
            f'{out_dir}: another result is there ({", ".join([*changed, *stale])}). Pass '
            '--overwrite to replace it, or name another folder.'
        )

    for name in stale:
        (out_dir / name).unlink()
        print(f'Removed {out_dir / name}: it belongs to an earlier result.')

    for name, text in others.items():
        if text:
            with atomic_write(out_dir / name) as file:
                file.write(text.encode())
        else:
            (out_dir / name).unlink(missing_ok=True)

    for name, content in sides.items():
        with atomic_write(out_dir / name) as file:
            file.write(content)


def parse_args(converter: Converter, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line of a converter; ends the process if it is wrong."""
    parser = argparse.ArgumentParser(
        description=converter.description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('root', type=Path, help='folder that image paths are relative to')
    converter.add_arguments(parser)

    out_help = 'folder for the annotation files and the lists of missing images'
    if converter.out_required:
        parser.add_argument('out_dir', type=Path, help=out_help)
    else:
        parser.add_argument('--out-dir', type=Path, help=f'{out_help} (default: the root)')

    default = 'drop' if converter.drop_unlabelled else 'keep'
    unlabelled = parser.add_mutually_exclusive_group()
    unlabelled.add_argument(
        '--drop-unlabelled',
        action='store_true',
        help=f'leave out images without a label (default: {default})',
    )
    unlabelled.add_argument(
        '--keep-unlabelled',
        action='store_false',
        dest='drop_unlabelled',
        help=f'write images without a label too (default: {default})',
    )
    parser.set_defaults(drop_unlabelled=converter.drop_unlabelled)
    add_lenient_arguments(parser)
    parser.add_argument(
        '--follow-links',
        action='store_true',
        help='accept symbolic links that lead out of the root',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace a different result in the folder, instead of stopping',
    )
    parser.add_argument(
        '--workers', type=at_least(1), default=8, help='threads that look for images (default: 8)'
    )
    return parser.parse_args(argv)


def add_lenient_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that continue where a conversion would stop."""
    parser.add_argument(
        '--allow-missing',
        action='store_true',
        help='continue without missing images, instead of stopping',
    )
    parser.add_argument(
        '--allow-repeats',
        action='store_true',
        help='continue if an image is listed twice with equal labels, instead of stopping',
    )
