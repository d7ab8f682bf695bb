"""The tables of a search for a recipe."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...utils.markdown import markdown_table
from .searching import Found, State, pick

MEASURES = {'f1': 'mean of F1_L and F1_I', 'm_ap': 'mAP', 'steps': 'the last epoch'}


class Recipe(NamedTuple):
    """A setting, whatever the seed.

    Attributes:
        rate: Learning rate.
        norm: Whether to normalise the scores before the LSTM's state.
        steps: Optimiser steps.
    """

    rate: float
    norm: bool
    steps: int


def describe(found: Mapping[str, Found], lengths: Sequence[int]) -> str:
    """Return the tables as Markdown: what was tried, what was chosen, and its test figures.

    Args:
        found: What was found, by the name of the data.
        lengths: Optimiser steps that are compared.
    """
    recipes = list_recipes(found, lengths)
    chosen = choose_recipe(found, recipes)
    norm = 'with' if chosen.norm else 'without'
    return '\n'.join(
        [
            'Mean of F1_L and F1_I on held-out validation images, beside the calibrated CNN:',
            '',
            _validation_table(found, recipes),
            '',
            f'Best on average: rate {chosen.rate:g}, {norm} batch norm, {chosen.steps} steps.',
            '',
            'Its F1_L / F1_I on the test images, beside the calibrated CNN:',
            '',
            _test_table(found, chosen),
            '',
            'The same gain, by the measure that picks the epoch:',
            '',
            _measure_table(found, recipes, chosen),
        ]
    )


def list_recipes(found: Mapping[str, Found], lengths: Sequence[int]) -> list[Recipe]:
    """List the recipes that were tried on all data."""
    tried = [{(setting.rate, setting.norm) for setting in data.runs} for data in found.values()]
    settings = sorted(set.intersection(*tried))
    return [Recipe(*setting, steps) for setting in settings for steps in sorted(lengths)]


def choose_recipe(found: Mapping[str, Found], recipes: Iterable[Recipe]) -> Recipe:
    """Return the recipe with the highest mean gain over the data, on validation images."""

    def gain(recipe: Recipe) -> float:
        return float(np.mean([mean_gain(data, recipe) for data in found.values()]))

    return max(recipes, key=gain)


def mean_gain(data: Found, recipe: Recipe, by: str = 'f1', side: str = 'f1') -> float:
    """Return what the decoder gains over the CNN, the mean over seeds, in percent points.

    Args:
        data: What was found on the data.
        recipe: The setting.
        by: The measure that picks the epoch, see :func:`pick`.
        side: ``'f1'`` on validation images, ``'test_f1'`` on test images.
    """
    kept = keep(data, recipe, by)
    return float(np.mean([getattr(state, side) - getattr(data.cnn, side) for state in kept]))


def keep(data: Found, recipe: Recipe, by: str = 'f1') -> list[State]:
    """Return the state that each seed's run keeps."""
    return [
        pick(states, recipe.steps, by)
        for setting, states in data.runs.items()
        if (setting.rate, setting.norm) == (recipe.rate, recipe.norm)
    ]


def _validation_table(found: Mapping[str, Found], recipes: Sequence[Recipe]) -> str:
    rows = []
    for recipe in recipes:
        gains = [mean_gain(data, recipe) for data in found.values()]
        shown = [f'{gain:+.2f}' for gain in [*gains, float(np.mean(gains))]]
        norm = 'yes' if recipe.norm else 'no'
        rows.append([f'{recipe.rate:g}', norm, f'{recipe.steps}', *shown])
    return markdown_table(['Learning rate', 'Batch norm', 'Steps', *found, 'Mean'], rows)


def _test_table(found: Mapping[str, Found], chosen: Recipe) -> str:
    rows = []
    for name, data in found.items():
        kept = keep(data, chosen)
        gain = mean_gain(data, chosen)
        rows.append([name, _show([data.cnn]), _show(kept), f'{gain:+.2f}'])
    return markdown_table(['Images', 'CNN', 'with the decoder', 'gain on validation'], rows)


def _show(states: Sequence[State]) -> str:
    """Return F1_L / F1_I on the test images, the mean over seeds."""
    if any(state.test_f1_l is None for state in states):
        return '-'
    pairs = np.array([(state.test_f1_l, state.test_f1_i) for state in states])
    return ' / '.join(f'{figure:.1f}' for figure in pairs.mean(axis=0))


def _measure_table(found: Mapping[str, Found], recipes: Sequence[Recipe], chosen: Recipe) -> str:
    has_test = all(data.cnn.test_f1 is not None for data in found.values())
    side = 'test_f1' if has_test else 'f1'
    rows = []
    for by, title in MEASURES.items():
        own = [mean_gain(data, chosen, by, side) for data in found.values()]
        every = itertools.product(found.values(), recipes)
        of_all = [mean_gain(data, recipe, by, side) for data, recipe in every]
        rows.append([title, f'{np.mean(own):+.2f}', f'{np.mean(of_all):+.2f}'])

    where = 'test' if has_test else 'validation'
    return markdown_table(['Epoch by', f'chosen recipe, {where}', f'all settings, {where}'], rows)
