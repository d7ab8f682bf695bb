"""Convert the Open Clip Art Library to images and ``MultiLabelDataset`` JSON.

The library (0.18, public domain) comes as the Debian packages ``openclipart-png``
(the pictures) and ``openclipart-svg`` (their keywords)::

    python tools/dataset_converters/openclipart.py data/openclipart --download

writes into the new folder ``data/openclipart``:

- ``images/``: RGB on white, aspect ratio kept;
- ``train.json`` and ``test.json``; ``train_fit.json`` and ``val.json``, which share out
``train.json`` once more;
- ``report.json`` and ``README.md``: everything that was counted, left out or changed.

The folder appears when all of it is there, and its bytes depend on the packages and the
options alone. ``morn_plugin/datasets/openclipart.py`` says how pictures and keywords are treated.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from morn_plugin.datasets import openclipart as oc
from morn_plugin.datasets.annotations import Annotations, atomic_write, save_annotations
from morn_plugin.datasets.near_duplicates import (
    fingerprint,
    group_near_duplicates,
    near_duplicates,
)
from morn_plugin.datasets.splitting import assign_sides

PACKAGES = ('openclipart-png', 'openclipart-svg')
ENCODINGS: dict[str, dict[str, Any]] = {
    '.png': dict(format='PNG', optimize=True),
    '.webp': dict(format='WEBP', quality=90, method=6),
}


@dataclass(frozen=True)
class Plan:
    """What to make of the collection; the defaults make the full set."""

    size: int = 256
    suffix: str = '.png'
    classes: tuple[str, ...] | None = None
    min_count: int = 50
    merge_copies: bool = False
    min_labels: int = 1
    max_images: int | None = None


MINI = Plan(size=128, suffix='.webp', classes=oc.MINI_CLASSES, merge_copies=True, min_labels=2)


@dataclass
class Entry:
    """A rendered picture on its way into the data set."""

    picture: oc.Picture
    keywords: set[str]
    encoded: bytes
    group: int = -1
    in_train: bool = False
    in_fit: bool = False


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n', 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('out', type=Path, help='folder to make; must not hold anything yet')
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
        help=f'make the small slice: {len(oc.MINI_CLASSES)} labels, pictures with two or '
        f'more of them, {MINI.size} px, lossy WebP',
    )
    parser.add_argument(
        '--size',
        type=int,
        default=None,
        help=f'longest side of the images in pixels; {Plan.size} or, with --mini, {MINI.size} by '
        f'default',
    )
    parser.add_argument(
        '--min-count',
        type=int,
        default=Plan.min_count,
        help='a keyword on at least so many pictures is a label; --mini has its own list',
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
        default=None,
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


@contextmanager
def source_folder(args: argparse.Namespace) -> Iterator[Path]:
    """Give a folder with the unpacked packages, a temporary one where needed."""
    if args.unpacked is not None:
        yield args.unpacked
        return
    with tempfile.TemporaryDirectory(prefix='openclipart-') as name:
        folder = Path(name)
        for deb in args.deb or download(folder):
            if not deb.is_file():
                raise FileNotFoundError(
                    f'{deb}: expected a package file of {" or ".join(PACKAGES)}.'
                )
            run(['dpkg', '-x', str(deb.resolve()), str(folder / 'unpacked')], folder)
        yield folder / 'unpacked'


def download(folder: Path) -> list[Path]:
    """Fetch both packages into a folder."""
    run(
        ['apt-get', 'download', *PACKAGES],
        folder,
        hint='Where the package lists are missing or old, `apt-get update` (as root) brings them.',
    )
    return sorted(folder.glob('*.deb'))


def run(command: list[str], folder: Path, hint: str = '') -> None:
    """Run a program of Debian's; fail with what it said."""
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(
            f'{command[0]} is missing: expected a Debian or Ubuntu system. Elsewhere, unpack the '
            f'packages {" and ".join(PACKAGES)} into one folder and give it as --unpacked.'
        )
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f'`{" ".join(command)}` failed: {done.stderr.strip()} {hint}'.strip())


def render_all(
    pictures: Sequence[oc.Picture], plan: Plan, report: dict[str, Any]
) -> tuple[list[Entry], np.ndarray]:
    """Render and hash every picture; report those that cannot be used.

    Returns:
        The N rendered pictures and their perceptual hashes, bool (N, B).
    """
    kinds = {
        oc.TooManyPixelsError: 'too_many_pixels',
        oc.TooSmallError: 'too_small',
        oc.BrokenPictureError: 'broken',
        oc.BlankPictureError: 'blank',
    }
    unusable: dict[str, list[str]] = {kind: [] for kind in kinds.values()}
    modes: Counter[str] = Counter()
    done: dict[str, tuple[bytes, np.ndarray, str] | str] = {}  # copies are rendered once
    entries, hashes = [], []
    for picture in tqdm(pictures, desc='render', unit='picture'):
        if picture.digest not in done:
            try:
                done[picture.digest] = render_one(picture.file, plan)
            except tuple(kinds) as error:
                done[picture.digest] = kinds[type(error)]
        result = done[picture.digest]
        if isinstance(result, str):
            unusable[result].append(picture.name)
            continue
        encoded, bits, mode = result
        modes[mode] += 1
        entries.append(Entry(picture, oc.clean_keywords(picture.keywords), encoded))
        hashes.append(bits)
    report['unusable'] = unusable
    report['modes'] = dict(sorted(modes.items()))
    return entries, np.array(hashes)


def render_one(file: Path, plan: Plan) -> tuple[bytes, np.ndarray, str]:
    """Give the encoded image, its perceptual hash and the PNG's mode."""
    picture, mode = oc.decode(file)
    image = oc.render(picture, plan.size, file)
    buffer = io.BytesIO()
    image.save(buffer, **ENCODINGS[plan.suffix])
    return buffer.getvalue(), fingerprint(picture), mode


def split(entries: Sequence[Entry], hashes: np.ndarray, report: dict[str, Any]) -> None:
    """Put every group of near-duplicates on one side; report the groups."""
    groups = group_near_duplicates(hashes).tolist()
    digests = [entry.picture.digest.encode() for entry in entries]
    train = assign_sides(digests, groups, oc.TRAIN_DRAW, oc.TRAIN_SHARE)
    val = assign_sides(digests, groups, oc.VAL_DRAW, oc.VAL_SHARE)
    for entry, entry.group, entry.in_train, in_val in zip(entries, groups, train, val, strict=True):
        entry.in_fit = entry.in_train and not in_val
    sizes = Counter(Counter(groups).values())
    report['near_duplicates'] = dict(
        groups=len(set(groups)),
        pictures_in_groups_of_several=sum(k * n for k, n in sizes.items() if k > 1),
        groups_by_size={str(size): sizes[size] for size in sorted(sizes)},
    )


def choose(
    entries: Sequence[Entry], plan: Plan, report: dict[str, Any]
) -> tuple[list[str], list[Entry]]:
    """Choose labels and pictures as planned; report who goes where."""
    keywords = [entry.keywords for entry in entries]
    classes = list(plan.classes or oc.frequent_keywords(keywords, plan.min_count))
    if not classes:
        raise oc.OpenClipartError(
            f'Expected a keyword on at least {plan.min_count} pictures, but there is none.'
        )
    labelled = [
        entry for entry in entries if len(entry.keywords.intersection(classes)) >= plan.min_labels
    ]
    drawn = sorted(labelled, key=lambda entry: (entry.picture.digest, entry.picture.name))[
        : plan.max_images
    ]
    chosen = drop_crossing(sorted(drawn, key=lambda entry: entry.picture.name))
    report['chosen'] = dict(
        distinct_keywords=len(set().union(*keywords)),
        labels=len(classes),
        min_labels=plan.min_labels,
        pictures_with_too_few_labels=len(entries) - len(labelled),
        over_max_images=len(labelled) - len(drawn),
        near_duplicates_once_encoded=len(drawn) - len(chosen),
        pictures=len(chosen),
    )
    return classes, chosen


def drop_crossing(entries: Sequence[Entry]) -> list[Entry]:
    """Drop test pictures that the stored images make near-duplicates of the training side.

    A smaller size or a lossy encoding may bring together what was apart when
    the sides were drawn. With the full set's 256 pixels and PNG nothing changes.
    """
    hashes = np.array([fingerprint(Image.open(io.BytesIO(entry.encoded))) for entry in entries])
    crossing = {
        index
        for pair in near_duplicates(hashes).tolist()
        if entries[pair[0]].in_train != entries[pair[1]].in_train
        for index in pair
    }
    return [entry for index, entry in enumerate(entries) if entry.in_train or index not in crossing]


def write(
    out: Path, classes: list[str], entries: Sequence[Entry], plan: Plan, report: dict[str, Any]
) -> None:
    """Write images, annotation files and report; report the sides."""
    index = {name: label for label, name in enumerate(classes)}
    items = [
        dict(
            img_path=f'images/{entry.picture.name}{plan.suffix}',
            gt_label=sorted(index[keyword] for keyword in entry.keywords if keyword in index),
        )
        for entry in entries
    ]
    for item, entry in tqdm(list(zip(items, entries, strict=True)), desc='write', unit='picture'):
        path = out / item['img_path']
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.encoded)
    sides = dict(
        train=[entry.in_train for entry in entries],
        test=[not entry.in_train for entry in entries],
        train_fit=[entry.in_fit for entry in entries],
        val=[entry.in_train and not entry.in_fit for entry in entries],
    )
    report['splits'] = {}
    for side, mask in sides.items():
        annotations = Annotations(
            classes, [item for item, inside in zip(items, mask, strict=True) if inside]
        )
        save_annotations(out / f'{side}.json', annotations)
        counts = annotations.label_counts().tolist()
        report['splits'][side] = dict(
            pictures=len(annotations),
            labels_per_picture=round(sum(counts) / len(annotations), 2),
            label_counts=dict(zip(classes, counts, strict=True)),
        )
    with atomic_write(out / 'report.json') as file:
        file.write((json.dumps(report, indent=1, ensure_ascii=False) + '\n').encode())
    with atomic_write(out / 'README.md') as file:
        file.write(describe(report).encode())


def convert(source: Path, out: Path, plan: Plan, command: str = '') -> dict[str, Any]:
    """Make the data set.

    Args:
        source: Where the packages are unpacked.
        out: Folder to make; it appears when whole.
        plan: What to make.
        command: Command line to name in README and report.

    Returns:
        The report.

    Raises:
        FileExistsError: If ``out`` holds anything.
        FileNotFoundError: If ``source`` does not hold the packages.
        OpenClipartError: If nothing would be left.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f'{out}: expected a folder to make, or an empty one, but it holds something already.'
        )
    root = oc.find_collection(source)
    names = oc.list_pngs(root)
    collected = oc.collect(root, tqdm(names, desc='read', unit='picture'))
    pictures = collected.pictures
    cleaned: dict[str, set[frozenset[str]]] = {}
    for picture in pictures:
        cleaned.setdefault(picture.digest, set()).add(
            frozenset(oc.clean_keywords(picture.keywords))
        )
    report: dict[str, Any] = dict(
        command=command,
        files=dict(
            sorted(collected.counts.items()),
            excluded_folders=dict(sorted(collected.excluded.items())),
            considered=len(pictures),
            copies=len(pictures) - len(cleaned),
            pictures_with_copies_of_other_keywords=sum(len(sets) > 1 for sets in cleaned.values()),
            merged=plan.merge_copies,
        ),
        problems=dict(sorted(collected.problems.items())),
        stop_keywords=count_keywords(pictures, oc.STOP_KEYWORDS),
        aliases=count_keywords(pictures, oc.ALIASES),
    )
    entries, hashes = render_all(
        oc.merge_copies(pictures) if plan.merge_copies else pictures, plan, report
    )
    if not entries:
        raise oc.OpenClipartError(
            f'{source}: expected pictures, but none of {len(names)} can be used: {report}.'
        )
    split(entries, hashes, report)
    classes, chosen = choose(entries, plan, report)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{out.name}.', dir=out.parent) as name:
        whole = Path(name) / out.name
        whole.mkdir()
        write(whole, classes, chosen, plan, report)
        whole.replace(out)
    return report


def count_keywords(
    pictures: Sequence[oc.Picture], keywords: Sequence[str] | dict[str, str]
) -> dict[str, int]:
    """Count the files that have each of some keywords."""
    counts = Counter(keyword for picture in pictures for keyword in picture.keywords)
    return {keyword: counts[keyword] for keyword in sorted(keywords)}


def describe(report: dict[str, Any]) -> str:
    """Put a report into Markdown."""
    files, near, chosen, splits = (
        report[key] for key in ('files', 'near_duplicates', 'chosen', 'splits')
    )
    excluded, unusable = files['excluded_folders'], report['unusable']
    listed = lambda counts: (
        ', '.join(f'`{key or "(empty)"}` {n}' for key, n in counts.items() if n) or 'none'
    )
    problems = {key: len(names) for key, names in report['problems'].items()}
    several = {size: n for size, n in near['groups_by_size'].items() if int(size) > 1}
    largest = max(map(int, near['groups_by_size']))
    copies = (
        'merged into one with the keywords of all'
        if files['merged']
        else 'kept, always on the same side of the split'
    )
    lines = [
        '# Open Clip Art',
        '',
        'Open Clip Art Library 0.18 from the Debian packages `openclipart-png` and '
        '`openclipart-svg`.',
        'Public domain: its authors dedicated the pictures to it (Creative Commons Public Domain '
        'Dedication).',
        '',
        'Made, this file too, with',
        '',
        f'    {report["command"]}',
        '',
        f'It holds {chosen["pictures"]} pictures with {chosen["labels"]} labels, '
        f'{splits["train"]["pictures"]} to train and {splits["test"]["pictures"]} to test. '
        f'`train_fit.json` and `val.json` share out `train.json`.',
        '',
        '| Split | Pictures | Labels a picture |',
        '|---|--:|--:|',
        *(
            f'| {side} | {part["pictures"]} | {part["labels_per_picture"]:.2f} |'
            for side, part in splits.items()
        ),
        '',
        'What became of the pictures:',
        '',
        f'- {files["png"]} PNG files; in excluded folders {sum(excluded.values())} '
        f'({listed(excluded)}); considered {files["considered"]}.',
        f'- {files["copies"]} of these are copies, file for file, of another, mostly links from a '
        f'second folder; {files["pictures_with_copies_of_other_keywords"]} pictures have copies '
        f'with other keywords. They are {copies}.',
        f'- SVGs: gzipped {files["svg_gzipped"]}, with internal entities '
        f'{files["svg_with_entities"]}, without keywords {files["svg_without_keywords"]}; '
        f'problems: {listed(problems)}.',
        f'- Not usable: {listed({key: len(names) for key, names in unusable.items()})}; '
        '`report.json` names them.',
        f'- PNG modes of the others: {listed(report["modes"])}.',
        f'- Near-duplicates: {near["groups"]} groups, {near["pictures_in_groups_of_several"]} '
        f'pictures in the {sum(several.values())} groups of several, at most {largest} in one.',
        f'- Left out for having fewer than {chosen["min_labels"]} of the labels: '
        f'{chosen["pictures_with_too_few_labels"]}; over `--max-images`: '
        f'{chosen["over_max_images"]}; from the test side, as a near-duplicate of the training '
        f'side once encoded: {chosen["near_duplicates_once_encoded"]}.',
        '',
        'Keywords (by files considered):',
        '',
        f'- {chosen["distinct_keywords"]} distinct ones after cleaning.',
        f'- Dropped for naming no content: {listed(report["stop_keywords"])}.',
        f'- Spelling twins merged: {listed(report["aliases"])}.',
        '',
        '| Label | Train | Test | Train fit | Val |',
        '|---|--:|--:|--:|--:|',
        *(
            f'| {label} | '
            + ' | '.join(
                str(splits[side]['label_counts'][label])
                for side in ('train', 'test', 'train_fit', 'val')
            )
            + ' |'
            for label in splits['train']['label_counts']
        ),
    ]
    return '\n'.join(lines) + '\n'


def command_line(args: argparse.Namespace, plan: Plan) -> str:
    """Give the command without the places of this machine."""
    base = MINI if args.mini else Plan()
    words = [
        'python tools/dataset_converters/openclipart.py',
        'OUT',
        '--download',
        *['--mini'] * args.mini,
    ]
    for name in ('size', 'min_count', 'max_images'):
        if getattr(plan, name) != getattr(base, name):
            words += [f'--{name.replace("_", "-")}', str(getattr(plan, name))]
    words += ['--merge-copies'] * (plan.merge_copies and not base.merge_copies)
    return ' '.join(words)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    plan = make_plan(args)
    try:
        with source_folder(args) as source:
            report = convert(source, args.out, plan, command_line(args, plan))
    except (OSError, RuntimeError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(describe(report))
    return 0


if __name__ == '__main__':
    sys.exit(main())
