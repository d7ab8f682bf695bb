"""Draws which label a model picks after which."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from ..evaluation.label_graph import TRANSITION_COLUMNS, LabelGraph, choose_edges
from ..utils.extras import require_extra
from ..utils.strict_json import dump_json
from .fonts import Fonts, choose_fonts

MAX_NAME = 24  # characters


def draw_heat_map(
    graph: LabelGraph,
    classes: list[str],
    number: int,
    path: Path,
) -> None:
    """Draw probabilities and expectation side by side for the most visited labels."""
    visits = graph.count.sum(1)
    chosen = np.sort(np.argsort(-visits, kind='stable')[:number])
    chosen = chosen[visits[chosen] > 0]
    fonts = choose_fonts(classes)
    names = [fonts.clean(classes[label][:MAX_NAME]) for label in chosen]

    size = 2.2 + 0.22 * len(chosen)
    figure = Figure(figsize=(2 * size + 1, size + 0.6), dpi=100, layout='constrained')
    left, right = figure.subplots(1, 2, sharey=True)

    style: dict[str, Any] = dict(fontsize=7, parse_math=False, fontfamily=fonts.families)

    def draw(
        axes: Axes,
        values: np.ndarray,
        title: str,
    ) -> Any:
        image = axes.imshow(values[np.ix_(chosen, chosen)], vmin=0, vmax=1, cmap='cividis')
        axes.set_xticks(range(len(chosen)), names, rotation=90, **style)
        axes.set_yticks(range(len(chosen)), names, **style)
        axes.set(title=title, xlabel='next label')
        return image

    draw(left, graph.probability, 'picked next by the model')
    image = draw(right, graph.expected, 'expected from training co-occurrence')
    left.set_ylabel('label')
    figure.colorbar(image, ax=[left, right], label='probability')
    figure.savefig(path)


def draw_graph(
    networkx: Any,
    rows: list[dict],
    path: Path,
) -> None:
    """Draw transitions as arrows in a circle of labels.

    The width shows the probability, the shade how far it exceeds co-occurrence.

    Args:
        networkx: The library.
        rows: ``label``, ``next``, ``probability`` and ``expected`` of each transition.
        path: The picture to write.
    """
    figure = Figure(figsize=(10, 9), dpi=100, layout='constrained')
    axes = figure.subplots()
    axes.set(
        title='What the model picks next more often than training co-occurrence predicts',
        aspect='equal',
        xlim=(-1.5, 1.5),
        ylim=(-1.5, 1.5),
    )
    axes.axis('off')

    if rows:
        graph = networkx.DiGraph([(row['label'], row['next'], row) for row in rows])
        place = _place_labels(networkx, graph)
        colours = _draw_arrows(networkx, graph, place, axes)
        figure.colorbar(
            colours, ax=axes, shrink=0.5, label='probability above that of co-occurrence'
        )
        _write_names(place, axes, choose_fonts(place))

    figure.savefig(path)


def _place_labels(networkx: Any, graph: Any) -> dict[str, np.ndarray]:
    """Place labels in a circle with neighbours side by side, so that fewer arrows cross."""
    groups = networkx.community.greedy_modularity_communities(graph.to_undirected())
    return networkx.circular_layout([label for group in groups for label in sorted(group)])


def _draw_arrows(
    networkx: Any,
    graph: Any,
    place: dict[str, np.ndarray],
    axes: Axes,
) -> ScalarMappable:
    rows = [row for *_, row in graph.edges(data=True)]
    surplus = np.array([row['probability'] - (row['expected'] or 0) for row in rows])
    shades = ListedColormap(colormaps['Blues'](np.linspace(0.35, 1)))
    colours = ScalarMappable(Normalize(0, surplus.max()), shades)

    networkx.draw_networkx_edges(
        graph,
        place,
        ax=axes,
        width=[0.6 + 3 * row['probability'] for row in rows],
        edge_color=colours.to_rgba(surplus),
        arrowsize=13,
        node_size=60,
        connectionstyle='arc3,rad=0.2',
    )
    return colours


def _write_names(
    place: dict[str, np.ndarray],
    axes: Axes,
    fonts: Fonts,
) -> None:
    for label, (x, y) in place.items():
        angle = np.degrees(np.arctan2(y, x))
        left = abs(angle) > 90
        axes.text(
            1.05 * x,
            1.05 * y,
            fonts.clean(label[:MAX_NAME]),
            rotation=angle - 180 * left,
            rotation_mode='anchor',
            va='center',
            ha='right' if left else 'left',
            fontsize=9,
            fontfamily=fonts.families,
            parse_math=False,
        )


def write_graph(
    rows: list[dict],
    folder: Path,
    edges: int,
) -> None:
    """Write GraphML and networkx's node-link JSON, and draw the transitions that stand out most.

    Args:
        rows: As of ``list_transitions``.
        folder: Output folder.
        edges: Number of transitions to draw.

    Raises:
        ImportError: If networkx is not installed; gives the pip command.
    """
    networkx = require_extra('networkx', 'graph')
    graph = networkx.DiGraph()

    for row in rows:
        attributes = {key: row[key] for key in TRANSITION_COLUMNS[2:] if row[key] is not None}
        graph.add_edge(row['label'], row['next'], weight=row['probability'], **attributes)

    networkx.write_graphml(graph, folder / 'graph.graphml')
    links = networkx.node_link_data(graph, edges='edges')
    (folder / 'graph.json').write_text(dump_json(links, indent=1), encoding='utf-8')
    draw_graph(networkx, choose_edges(rows, edges), folder / 'graph.png')
