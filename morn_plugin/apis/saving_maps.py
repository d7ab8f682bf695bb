"""Saves a fitted map and thresholds with a model's weights."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..deploy.labels import Thresholds
from ..engine.checkpoint_content import read_model_checkpoint
from ..engine.kept_thresholds import pass_on_thresholds
from ..evaluation.platt import PlattMap
from ..models.decisions.score_map import ScoreMap
from ..models.heads import DecisionHead
from ..utils.files import atomic_path, atomic_write
from .inferencer import MultiLabelInferencer

DECISION = 'head.decision.'


def save_with_map(inferencer: MultiLabelInferencer, thresholds: Thresholds, out: str) -> str:
    """Write a copy of a model's checkpoint with a fitted map, and its config.

    All tools then show probabilities and predict by the thresholds: ``predict.py``, ``export.py``,
    the report and the page read the config in the checkpoint; ``test.py`` reads the one next to it.

    Args:
        inferencer: The calibrated model.
        thresholds: The chosen thresholds, with a map.
        out: The checkpoint to write, ``.pth``.

    Returns:
        The config written next to it, ``.py``.

    Raises:
        ValueError: If the name has a different ending, there is no map, or the model's own decision
            depends on the image, which the map would replace.
    """
    path = Path(out)
    if path.suffix != '.pth':
        raise ValueError(f'Expected the name of a checkpoint, FILE.pth, but got {out}.')
    if path.resolve() == Path(inferencer.checkpoint_path).resolve():
        raise ValueError(f'{out}: write to a different file than the calibrated checkpoint.')

    rule = make_rule(inferencer.model.head, thresholds)

    # The config decides by the rule.
    cfg = copy.deepcopy(inferencer.cfg)
    cfg.model.head.decision = dict(type='ScoreMap', space=rule.space, thr=rule.as_plain()['thr'])
    for replaced in ('thr', 'topk'):
        cfg.model.head.pop(replaced, None)

    # The weights hold the rule's numbers instead of those of an earlier rule.
    checkpoint = read_model_checkpoint(inferencer.checkpoint_path)
    state = checkpoint['state_dict']
    earlier = [name for name in state if name.startswith(DECISION)]
    for name in earlier:
        del state[name]

    for name, value in rule.state_dict().items():
        state[f'{DECISION}{name}'] = value

    found = checkpoint['meta'].get('dataset_meta') or {}
    meta = dict(
        cfg=cfg.pretty_text,
        dataset_meta=dict(found, classes=tuple(inferencer.classes)),
        **pass_on_thresholds(checkpoint),  # of the CNN's scores, which no map changes
    )

    with atomic_write(path) as file:
        torch.save(dict(meta=meta, state_dict=state), file)
    beside = path.with_suffix('.py')
    with atomic_path(beside) as temporary:
        temporary.write_text(cfg.pretty_text, encoding='utf-8')
    return str(beside)


def make_rule(head: Any, thresholds: Thresholds) -> ScoreMap:
    """Return the decision of a calibrated model: its map, and thresholds of probabilities.

    Args:
        head: The model's head; a map that it already has is applied before the new one.
        thresholds: Thresholds of the shown scores, before the new map.

    Raises:
        ValueError: If there is no map, or the head cannot take one.
    """
    found = thresholds.score_map
    if found is None:
        raise ValueError('Expected thresholds with a map to save into a model: fit one with --map.')
    if not isinstance(head, DecisionHead):
        raise ValueError(
            f'Expected a LabelDecoderHead to save a map in, but got {type(head).__name__}: it has '
            'no `decision`.'
        )

    own = head.decision
    if own is not None and own.as_plain() is None:
        raise ValueError(
            f'The model decides by {type(own).__name__}, which looks at the image: a map with '
            'thresholds would be in its place. Save the map of a model without that `decision`.'
        )

    first = PlattMap(1.0, 0.0)
    if isinstance(own, ScoreMap):
        first = PlattMap(float(own.slope), float(own.offset), own.space)
    thr = found.probabilities(np.asarray(thresholds.thr)).tolist()
    # Both are sigmoids, and the input of the new one is the logit of the first, so one sigmoid
    # replaces both.
    slope = found.slope * first.slope
    offset = found.slope * first.offset + found.offset
    return ScoreMap(head.num_classes, slope, offset, first.space, thr)
