"""Writes the report of a conversion as the README of the data set."""

from collections.abc import Iterator
from typing import Any

from morn_plugin.utils.markdown import markdown_table

SIDES = ('train', 'test', 'train_fit', 'val')


def describe(report: dict[str, Any]) -> str:
    """Format a report as Markdown."""
    lines = [*_summary(report), '', *_pictures(report), '', *_keywords(report)]
    return '\n'.join(lines) + '\n'


def _summary(report: dict[str, Any]) -> Iterator[str]:
    chosen = report['chosen']
    splits = report['splits']
    yield '# Open Clip Art'
    yield ''
    yield (
        'Open Clip Art Library 0.18 from the Debian packages `openclipart-png` and '
        '`openclipart-svg`.'
    )
    yield (
        'Public domain: its authors dedicated the pictures to it (Creative Commons Public Domain '
        'Dedication).'
    )
    yield ''
    yield 'Made, this file too, with'
    yield ''
    yield f'    {report["command"]}'
    yield ''
    yield (
        f'It has {chosen["pictures"]} pictures with {chosen["labels"]} labels, '
        f'{splits["train"]["pictures"]} to train and {splits["test"]["pictures"]} to test. '
        '`train_fit.json` and `val.json` share out `train.json`.'
    )
    yield ''
    rows = [
        [side, str(part['pictures']), f'{part["labels_per_picture"]:.2f}']
        for side, part in splits.items()
    ]
    yield markdown_table(['Split', 'Pictures', 'Labels a picture'], rows)


def _pictures(report: dict[str, Any]) -> Iterator[str]:
    files = report['files']
    chosen = report['chosen']
    excluded = files['excluded_folders']
    problems = {key: len(names) for key, names in report['problems'].items()}
    unusable = {key: len(names) for key, names in report['unusable'].items()}
    copies = (
        'merged into one with the keywords of all'
        if files['merged']
        else 'kept, always on the same side of the split'
    )

    near = report['near_duplicates']
    several = {size: n for size, n in near['groups_by_size'].items() if int(size) > 1}
    largest = max(map(int, near['groups_by_size']))

    yield 'What became of the pictures:'
    yield ''
    yield (
        f'- {files["png"]} PNG files; in excluded folders {sum(excluded.values())} '
        f'({_listed(excluded)}); considered {files["considered"]}.'
    )
    yield (
        f'- {files["copies"]} of these are copies, file for file, of another, mostly links from a '
        f'second folder; {files["pictures_with_copies_of_other_keywords"]} pictures have copies '
        f'with other keywords. They are {copies}.'
    )
    yield (
        f'- SVGs: gzipped {files["svg_gzipped"]}, with internal entities '
        f'{files["svg_with_entities"]}, without keywords {files["svg_without_keywords"]}; '
        f'problems: {_listed(problems)}.'
    )
    yield f'- Not usable: {_listed(unusable)}; `report.json` names them.'
    yield f'- PNG modes of the others: {_listed(report["modes"])}.'
    yield (
        f'- Near-duplicates: {near["groups"]} groups, {near["pictures_in_groups_of_several"]} '
        f'pictures in the {sum(several.values())} groups of several, at most {largest} in one.'
    )
    yield (
        f'- Left out for having fewer than {chosen["min_labels"]} of the labels: '
        f'{chosen["pictures_with_too_few_labels"]}; over `--max-images`: '
        f'{chosen["over_max_images"]}; from the test side, as a near-duplicate of the training '
        f'side once encoded: {chosen["near_duplicates_once_encoded"]}.'
    )


def _keywords(report: dict[str, Any]) -> Iterator[str]:
    splits = report['splits']
    yield 'Keywords (by files considered):'
    yield ''
    yield f'- {report["chosen"]["distinct_keywords"]} distinct ones after cleaning.'
    yield f'- Dropped for naming no content: {_listed(report["stop_keywords"])}.'
    yield f'- Spelling twins merged: {_listed(report["aliases"])}.'
    yield ''

    rows = []
    for label in splits['train']['label_counts']:
        counts = [splits[side]['label_counts'][label] for side in SIDES]
        rows.append([label, *map(str, counts)])

    yield markdown_table(['Label', 'Train', 'Test', 'Train fit', 'Val'], rows)


def _listed(counts: dict[str, int]) -> str:
    """List the counts above 0, each after its name."""
    return ', '.join(f'`{key or "(empty)"}` {n}' for key, n in counts.items() if n) or 'none'
