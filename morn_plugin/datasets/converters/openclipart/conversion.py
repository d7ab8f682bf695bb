"""Converts the unpacked packages to a data set folder."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from morn_plugin.datasets.annotations import Annotations, save_annotations
from morn_plugin.utils.files import atomic_write
from morn_plugin.utils.strict_json import write_json

from .collection import Collected, Picture, collect, find_collection, list_pngs, merge_copies
from .entries import Entry, choose, render_all, split
from .errors import OpenClipartError
from .keywords import ALIASES, STOP_KEYWORDS, clean_keywords
from .plan import Plan
from .readme import describe


def convert(
    source: Path,
    out: Path,
    plan: Plan,
    command: str = '',
) -> dict[str, Any]:
    """Write the data set.

    Args:
        source: Folder of the unpacked packages.
        out: Folder to write; it appears only when complete.
        plan: The options of the data set.
        command: Command line to show in README and report.

    Returns:
        The report.

    Raises:
        FileExistsError: If ``out`` holds anything.
        FileNotFoundError: If ``source`` does not hold the packages.
        OpenClipartError: If no picture or label remains.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f'{out}: expected a folder to make, or an empty one, but it already contains something.'
        )

    root = find_collection(source)
    names = list_pngs(root)
    collected = collect(root, tqdm(names, desc='read', unit='picture'))
    report = start_report(collected, plan, command)

    pictures = merge_copies(collected.pictures) if plan.merge_copies else collected.pictures
    entries, hashes = render_all(pictures, plan, report)
    if not entries:
        raise OpenClipartError(
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


def start_report(
    collected: Collected,
    plan: Plan,
    command: str,
) -> dict[str, Any]:
    """Start the report with the counts of the found files."""
    pictures = collected.pictures
    by_content: dict[str, set[frozenset[str]]] = {}
    for picture in pictures:
        cleaned = frozenset(clean_keywords(picture.keywords))
        by_content.setdefault(picture.digest, set()).add(cleaned)

    files = dict(
        sorted(collected.counts.items()),
        excluded_folders=dict(sorted(collected.excluded.items())),
        considered=len(pictures),
        copies=len(pictures) - len(by_content),
        pictures_with_copies_of_other_keywords=sum(len(sets) > 1 for sets in by_content.values()),
        merged=plan.merge_copies,
    )
    return dict(
        command=command,
        files=files,
        problems=dict(sorted(collected.problems.items())),
        stop_keywords=count_keywords(pictures, STOP_KEYWORDS),
        aliases=count_keywords(pictures, ALIASES),
    )


def count_keywords(pictures: Sequence[Picture], keywords: Iterable[str]) -> dict[str, int]:
    """Count the files with each of the given keywords."""
    counts = Counter(keyword for picture in pictures for keyword in picture.keywords)
    return {keyword: counts[keyword] for keyword in sorted(keywords)}


def write(
    out: Path,
    classes: list[str],
    entries: Sequence[Entry],
    plan: Plan,
    report: dict[str, Any],
) -> None:
    """Write images, annotation files and report; report the sides."""
    index = {name: label for label, name in enumerate(classes)}
    items = []
    for entry in entries:
        labels = sorted(index[keyword] for keyword in entry.keywords if keyword in index)
        items.append(dict(img_path=f'images/{entry.picture.name}{plan.suffix}', gt_label=labels))

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
        inside = [item for item, wanted in zip(items, mask, strict=True) if wanted]
        annotations = Annotations(classes, inside)
        save_annotations(out / f'{side}.json', annotations)
        report['splits'][side] = count_side(annotations)

    write_json(out / 'report.json', report, indent=1)
    with atomic_write(out / 'README.md') as file:
        file.write(describe(report).encode())


def count_side(annotations: Annotations) -> dict[str, Any]:
    """Count the pictures and labels of one side."""
    counts = annotations.label_counts().tolist()
    return dict(
        pictures=len(annotations),
        labels_per_picture=round(sum(counts) / len(annotations), 2),
        label_counts=dict(zip(annotations.classes, counts, strict=True)),
    )
