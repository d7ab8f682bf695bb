"""Writes sentences from figures, so that a page only claims what its tables show."""

from collections.abc import Mapping, Sequence

import numpy as np

from .figures import CALIBRATED, EXACT, NATIVE, Row, rank_methods
from .results import BenchmarkInfo, Facts
from .statistics import Comparison

VERDICTS = {'above': 'above', 'below': 'below', 'open': 'undecided'}


def claim(comparison: Comparison, rows: Mapping[str, Row]) -> str:
    """Describe how a method compares with the reference in one column.

    Examples:
        >>> from .statistics import SeedTest
        >>> rows = {name: Row(name, name.upper(), 'scores', '', 1, True, (), {}, np.zeros(0))
        ...         for name in 'ab'}
        >>> test = SeedTest(1.5, 1.0, 2.0, 0.001, 5)
        >>> claim(Comparison('a', 'b', 'native', 'F1_I', test, 0.002, 0.4, 2.6), rows)
        'A is above B in F1_I: +1.50 (seeds +1.00 to +2.00, images +0.40 to +2.60, p = 0.002).'
    """
    method, reference = rows[comparison.method].title, rows[comparison.reference].title
    place = {'above': 'is above', 'below': 'is below', 'open': 'is not confirmed to differ from'}
    return (
        f'{method} {place[comparison.verdict]} {reference} in {comparison.column}: '
        f'{describe_difference(comparison)}.'
    )


def describe_difference(comparison: Comparison) -> str:
    """Format the difference, both intervals and the corrected p-value."""
    seeds = comparison.seeds
    parts = []
    if seeds.num_seeds > 1:
        parts.append(f'seeds {seeds.low:+.2f} to {seeds.high:+.2f}')
    if not np.isnan(comparison.image_low):
        parts.append(f'images {comparison.image_low:+.2f} to {comparison.image_high:+.2f}')
    parts.append(f'p {format_p(comparison.p_holm)}' if seeds.num_seeds > 1 else 'one seed')
    return f'{seeds.difference:+.2f} ({", ".join(parts)})'


def format_p(p_value: float) -> str:
    """Format a p-value with its relation sign.

    Examples:
        >>> format_p(0.0421), format_p(0.00001)
        ('= 0.042', '< 0.001')
    """
    return '< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'


def summarise(
    info: BenchmarkInfo,
    facts: Facts,
    rows: Mapping[str, Row],
    comparisons: Sequence[Comparison],
) -> list[str]:
    """Summarise the comparison of methods in about ten lines.

    Args:
        info: What all runs share; the first group is the comparison of methods.
        facts: Facts about the data and the searches.
        rows: The figures of the methods.
        comparisons: Comparisons with the references of all groups, for all decisions.
    """
    group = info.groups[0]
    members = {name: row for name, row in rows.items() if row.group == group.name}
    own = [
        item for item in comparisons if item.method in members and item.reference == group.reference
    ]
    lines = [
        _say_what_was_compared(info, facts, members),
        *_say_which_is_best(members),
        *_say_who_is_where(own, rows, group.reference),
        *_say_what_stands_beside_controls(info, rows, comparisons),
        _say_what_calibration_brings(members),
        _say_what_k_labels_allow(info, facts, members),
        _say_what_it_costs(info, members),
    ]
    return [line for line in lines if line]


def _say_what_was_compared(info: BenchmarkInfo, facts: Facts, rows: Mapping[str, Row]) -> str:
    seeds = sorted({len(row.seeds) for row in rows.values()})
    many = f'{seeds[0]} to {seeds[-1]} seeds'
    if len(seeds) == 1:
        many = 'one seed' if seeds == [1] else f'{seeds[0]} seeds'
    return (
        f'**Compared**: {len(rows)} methods on {info.title}, {many} each: '
        f'{len(info.classes)} labels; {info.num_training:,} images to train on, '
        f'{facts.num_val:,} to choose on, {facts.num_test:,} to test on.'
    )


def _say_which_is_best(rows: Mapping[str, Row]) -> list[str]:
    lines = []
    for decision, column in (
        (CALIBRATED, 'F1_I'),
        (CALIBRATED, 'F1_L'),
        (NATIVE, 'F1_I'),
        (NATIVE, 'mAP'),
    ):
        ranked = [
            f'{row.title} ({row.column(decision, column).mean():.2f})'
            for row in rank_methods(rows, decision, column)[:2]
        ]
        if ranked:
            by = '' if column == 'mAP' else f', {_name_decision(decision)}'
            lines.append(f'**Highest {column}**{by}: {", then ".join(ranked)}.')
    return lines


def _name_decision(decision: str) -> str:
    names = {NATIVE: 'by their own decisions', CALIBRATED: 'with calibrated thresholds'}
    return names.get(decision, decision)


def _say_who_is_where(
    comparisons: Sequence[Comparison], rows: Mapping[str, Row], reference: str
) -> list[str]:
    """List the methods above and below the reference, one line for each column and decision.

    If all methods have a single seed, the test images alone decide, and the line says so.
    """
    lines = []
    for decision, column in ((CALIBRATED, 'F1_I'), (CALIBRATED, 'F1_L'), (NATIVE, 'F1_I')):
        found = [item for item in comparisons if (item.decision, item.column) == (decision, column)]
        if not found:
            continue
        has_seeds = any(item.seeds.num_seeds > 1 for item in found)
        how = '' if has_seeds else ', one seed, by test images alone and without correction'
        parts = []
        for verdict, words in VERDICTS.items():
            named = [
                f'{rows[item.method].title} ({item.seeds.difference:+.2f})'
                for item in found
                if (item.verdict if has_seeds else item.image_verdict) == verdict
            ]
            parts.append(f'{words}: {", ".join(named) or "none"}')
        lines.append(
            f'**Against {rows[reference].title}** in {column}, {_name_decision(decision)}{how}: '
            f'{"; ".join(parts)}.'
        )
    return lines


def _say_what_stands_beside_controls(
    info: BenchmarkInfo, rows: Mapping[str, Row], comparisons: Sequence[Comparison]
) -> list[str]:
    """Compare methods that train on several views of an image with their control."""
    lines = []
    for group in info.groups[1:]:
        control = rows.get(group.reference)
        if control is None or control.views == 1:
            continue
        parts = [
            f'{rows[item.method].title} {VERDICTS[item.verdict]}, {describe_difference(item)}'
            for item in comparisons
            if (item.reference, item.decision, item.column) == (group.reference, CALIBRATED, 'F1_I')
            and rows[item.method].views == control.views
        ]
        if parts:
            lines.append(
                f'**Of {control.views} views an image**, which no other row of the methods has, '
                f'against {control.title} in F1_I, {_name_decision(CALIBRATED)}: '
                f'{"; ".join(parts)}.'
            )
    return lines


def _say_what_calibration_brings(rows: Mapping[str, Row]) -> str:
    gains = {
        row.title: float((row.column(CALIBRATED, 'F1_I') - row.column(NATIVE, 'F1_I')).mean())
        for row in rows.values()
        if CALIBRATED in row.figures
    }
    if not gains:
        return ''
    most, least = (choose(gains, key=lambda title: gains[title]) for choose in (max, min))
    return (
        '**One threshold chosen on validation**, in place of their own decisions, changes F1_I by '
        f'{gains[least]:+.2f} ({least}) to {gains[most]:+.2f} ({most}).'
    )


def _say_what_k_labels_allow(info: BenchmarkInfo, facts: Facts, rows: Mapping[str, Row]) -> str:
    ranked = rank_methods(rows, EXACT, 'F1_I')
    if not ranked:
        return ''
    best = ranked[0]
    return (
        f'**Exactly {info.topk} labels an image** allow no more than {facts.bound["F1_I"]:.2f} '
        f'F1_I and {facts.bound["OF1"]:.2f} OF1 to any method; the best here has '
        f'{best.column(EXACT, "F1_I").mean():.2f} F1_I ({best.title}).'
    )


def _say_what_it_costs(info: BenchmarkInfo, rows: Mapping[str, Row]) -> str:
    costs = {row.title: row.seconds / 60 for row in rows.values() if row.seconds}
    if not costs:
        return ''
    most, least = (choose(costs, key=lambda title: costs[title]) for choose in (max, min))
    whole = f'; {info.minutes:.0f} minutes for all, searches included' if info.minutes else ''
    runs = f'{costs[least]:.1f} ({least}) to {costs[most]:.1f} minutes ({most}) a run'
    return f'**Cost**: {runs}{whole}.'
