"""Show which label a model picks after which.

Against what co-occurrence in training alone predicts.
"""

import argparse
import csv
import sys
from functools import partial
from pathlib import Path

import numpy as np

from morn_plugin.apis import MultiLabelInferencer, add_model_arguments
from morn_plugin.apis.collecting import SPLITS, collect_predictions, count_training_labels
from morn_plugin.deploy.running import show_progress
from morn_plugin.evaluation.label_graph import LabelGraph, build_label_graph, structure_share
from morn_plugin.utils.checks import at_least
from morn_plugin.utils.extras import require_extra
from morn_plugin.utils.strict_json import dump_json
from morn_plugin.visualization.label_graph import draw_graph, draw_heat_map

COLUMNS = ('label', 'next', 'count', 'probability', 'expected', 'lift')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_arguments(parser)
    parser.add_argument(
        '--split', choices=SPLITS, default='test', help='images to follow (default: test)'
    )
    parser.add_argument(
        '--out-dir', type=Path, default=Path('label_graph'), help='default: label_graph'
    )
    parser.add_argument(
        '--min-count',
        type=at_least(1),
        default=3,
        help='transitions seen less often are left out of table and graph (default: 3)',
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


def list_transitions(graph: LabelGraph, classes: list[str], min_count: int) -> list[dict]:
    """List transitions, the most frequent first.

    An infinite lift (never together in training) is None.
    """
    a, b = np.nonzero(graph.count >= min_count)
    order = np.argsort(-graph.count[a, b], kind='stable')
    number = lambda value: float(value) if np.isfinite(value) else None
    return [
        dict(
            zip(
                COLUMNS,
                (
                    classes[i],
                    classes[j],
                    int(graph.count[i, j]),
                    number(graph.probability[i, j]),
                    number(graph.expected[i, j]),
                    number(graph.lift[i, j]),
                ),
                strict=True,
            )
        )
        for i, j in zip(a[order], b[order], strict=True)
    ]


def write_graph(rows: list[dict], folder: Path, edges: int) -> None:
    """Write GraphML and networkx's node-link JSON, and draw the transitions that stand out most."""
    networkx = require_extra('networkx', 'graph')
    graph = networkx.DiGraph()
    for row in rows:
        attributes = {key: row[key] for key in COLUMNS[2:] if row[key] is not None}
        graph.add_edge(row['label'], row['next'], weight=row['probability'], **attributes)
    networkx.write_graphml(graph, folder / 'graph.graphml')
    (folder / 'graph.json').write_text(
        dump_json(networkx.node_link_data(graph, edges='edges'), indent=1), encoding='utf-8'
    )
    draw_graph(networkx, choose_edges(rows, edges), folder / 'graph.png')


def choose_edges(rows: list[dict], number: int) -> list[dict]:
    """Take the transitions that are most frequent beyond what co-occurrence predicts.

    A label to itself left out.
    """
    surplus = lambda row: row['count'] * (1 - (row['expected'] or 0) / row['probability'])
    others = sorted((row for row in rows if row['label'] != row['next']), key=surplus, reverse=True)
    return [row for row in others[:number] if surplus(row) > 0]


def print_table(rows: list[dict], number: int = 20) -> None:
    print(f'{"label":>24}    {"next":24}{"count":>7}{"P":>8}{"expected":>10}{"lift":>8}')
    text = lambda value: '-' if value is None else f'{value:.2f}'
    for row in rows[:number]:
        print(
            f'{row["label"][:24]:>24} -> '
            f'{row["next"][:24]:24}{row["count"]:>7}{text(row["probability"]):>8}'
            f'{text(row["expected"]):>10}{text(row["lift"]):>8}'
        )


def describe_structure(graph: LabelGraph) -> str:
    share = structure_share(graph)
    if share is None:
        return 'none of them leaves a label that shares a training image with another one'
    return f'{100 * share:.0f} % of their probability lies elsewhere than co-occurrence puts it'


def main() -> None:
    args = parse_args()
    try:
        inferencer = MultiLabelInferencer(
            args.model, args.config, args.device, trust_config=args.trust_config
        )
        data = collect_predictions(
            inferencer, SPLITS[args.split], partial(show_progress, unit='batches')
        )
        if data.step_labels is None:
            method = getattr(inferencer.model.head, 'method', 'this model')
            sys.exit(
                f'{args.model}: {method} has no steps (`step_labels`), so that its labels follow '
                'each other in no order.'
            )
        classes, targets = count_training_labels(inferencer.cfg)
        if classes != data.classes:
            sys.exit(f'{args.model}: the training labels are not those of the model.')
        graph = build_label_graph(data.step_labels, targets)
        rows = list_transitions(graph, classes, args.min_count)
        args.out_dir.mkdir(parents=True, exist_ok=True)
        with open(args.out_dir / 'transitions.csv', 'w', newline='', encoding='utf-8') as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            table.writerows(rows)
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
