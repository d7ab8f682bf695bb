"""Show which label a model picks after which.

The transitions are compared with co-occurrence in training.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from morn_plugin.utils.arguments import add_split_arguments
from morn_plugin.utils.checks import at_least
from morn_plugin.utils.safe_csv import safe_cell


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_split_arguments(parser, purpose='follow')
    parser.add_argument(
        '--out-dir', type=Path, default=Path('label_graph'), help='default: label_graph'
    )
    parser.add_argument(
        '--min-count',
        type=at_least(1),
        default=3,
        help='leave rarer transitions out of table and graph (default: 3)',
    )
    parser.add_argument(
        '--max-labels',
        type=at_least(1),
        default=40,
        help='labels in the heat map, the most visited',
    )
    parser.add_argument(
        '--max-edges',
        type=at_least(1),
        default=40,
        help='arrows of the drawn graph, those that stand out most',
    )
    return parser.parse_args()


def print_table(rows: list[dict], number: int = 20) -> None:
    """Print the first transitions."""
    print(f'{"label":>24}    {"next":24}{"count":>7}{"P":>8}{"expected":>10}{"lift":>8}')
    text = lambda value: '-' if value is None else f'{value:.2f}'
    for row in rows[:number]:
        print(
            f'{row["label"][:24]:>24} -> '
            f'{row["next"][:24]:24}{row["count"]:>7}{text(row["probability"]):>8}'
            f'{text(row["expected"]):>10}{text(row["lift"]):>8}'
        )


def write_table(
    rows: list[dict],
    columns: Sequence[str],
    path: Path,
) -> None:
    """Write the transitions as CSV."""
    with open(path, 'w', newline='', encoding='utf-8') as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        for row in rows:
            names = {key: safe_cell(row[key]) for key in ('label', 'next')}
            table.writerow({**row, **names})


def main() -> None:
    args = parse_args()
    from morn_plugin.apis import MultiLabelInferencer
    from morn_plugin.apis.collecting import SPLITS, collect_predictions, count_training_labels
    from morn_plugin.deploy.running import show_progress
    from morn_plugin.evaluation.label_graph import (
        TRANSITION_COLUMNS,
        build_label_graph,
        describe_structure,
        list_transitions,
    )
    from morn_plugin.visualization.label_graph import draw_heat_map, write_graph

    try:
        inferencer = MultiLabelInferencer(
            args.model, args.config, args.device, trust_config=args.trust_config
        )
        track = partial(show_progress, unit='batches')
        data = collect_predictions(inferencer, SPLITS[args.split], track)
        if data.step_labels is None:
            method = getattr(inferencer.model.head, 'method', 'this model')
            sys.exit(
                f'{args.model}: {method} has no steps (`step_labels`), so its labels have no order.'
            )

        classes, targets = count_training_labels(inferencer.cfg)
        if classes != data.classes:
            sys.exit(f'{args.model}: the training labels are not those of the model.')

        graph = build_label_graph(data.step_labels, targets)
        rows = list_transitions(graph, classes, args.min_count)
        args.out_dir.mkdir(parents=True, exist_ok=True)
        write_table(rows, TRANSITION_COLUMNS, args.out_dir / 'transitions.csv')
        draw_heat_map(graph, classes, args.max_labels, args.out_dir / 'heat_map.png')
        write_graph(rows, args.out_dir, args.max_edges)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(str(error))

    print_table(rows)
    print(
        f'{graph.count.sum()} transitions on {len(data.step_labels)} images; '
        f'{describe_structure(graph)}. Wrote {args.out_dir}.'
    )


if __name__ == '__main__':
    main()
