"""Trains the decoder with many settings on cached scores, to find a recipe.

The rate stays constant in training, so a long run contains every shorter one: it is evaluated from
time to time, and the lengths are compared afterwards.
"""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS

from ...deploy.labels import mark_labels
from ...evaluation.functional import mean_average_precision, paper_figures
from ...speed.score_runs import train_only
from ...utils.files import sha256
from ...utils.strict_json import read_json, write_json
from . import recipe
from .cached import predict_cached
from .choosing import judge
from .configs import make_decoder_config
from .planning import Plan, fit_batch_to_data

EVALUATIONS = 12  # of a run


class Setting(NamedTuple):
    """What is tried.

    Attributes:
        rate: Learning rate.
        norm: Whether to normalise the scores before the LSTM's state.
        seed: Of the run.
    """

    rate: float
    norm: bool
    seed: int = 0

    def __str__(self) -> str:
        norm = 'batch norm' if self.norm else 'no norm'
        return f'rate {self.rate:g}, {norm}, seed {self.seed}'


@dataclass(frozen=True)
class State:
    """A model at a moment of its training; all figures in percent.

    Attributes:
        steps: Optimiser steps so far; 0 is the CNN alone.
        m_ap: mAP on the validation images.
        f1_l: F1_L on held-out validation images, with one threshold.
        f1_i: F1_I, likewise.
        test_f1_l: F1_L on the test images, with the threshold of all validation images; None if
            there are no test scores.
        test_f1_i: F1_I, likewise.
    """

    steps: int
    m_ap: float
    f1_l: float
    f1_i: float
    test_f1_l: float | None = None
    test_f1_i: float | None = None

    @property
    def f1(self) -> float:
        """The mean of F1_L and F1_I on the validation images."""
        return (self.f1_l + self.f1_i) / 2

    @property
    def test_f1(self) -> float | None:
        """The mean of F1_L and F1_I on the test images."""
        if self.test_f1_l is None or self.test_f1_i is None:
            return None
        return (self.test_f1_l + self.test_f1_i) / 2


@dataclass
class Found:
    """What a search found on one data set.

    Attributes:
        cnn: The CNN alone.
        runs: The states of each run.
    """

    cnn: State
    runs: dict[Setting, list[State]] = field(default_factory=dict)


class ScoreFolder:
    """The cached scores of a CNN: ``scores_train``, ``scores_val`` and perhaps ``scores_test``.

    Args:
        path: The folder of the ``.safetensors`` files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sides = {side: self._open(side) for side in ('train', 'val')}
        if (path / 'scores_test.safetensors').is_file():
            self.sides['test'] = self._open('test')

    @property
    def name(self) -> str:
        """The name of the data: that of the folder, or of the one above if it is ``scores``."""
        path = self.path.resolve()
        return path.parent.name if path.name == 'scores' else path.name

    @property
    def digest(self) -> str:
        """Some characters that change with the scores."""
        return ''.join(sha256(data.ann_file)[:8] for data in self.sides.values())

    def judge_cnn(self) -> State:
        """Evaluate the CNN alone."""
        sides = {side: data.scores.numpy() for side, data in self.sides.items() if side != 'train'}
        return self._judge(0, sides)

    def judge_decoder(self, steps: int, model: Any) -> State:
        """Evaluate a decoder.

        Args:
            steps: Optimiser steps so far.
            model: In evaluation mode.
        """
        sides = {side: data for side, data in self.sides.items() if side != 'train'}
        scores = {side: predict_cached(model, data) for side, data in sides.items()}
        return self._judge(steps, scores)

    def make_config(self, setting: Setting, steps: int, work_dir: Path) -> Config:
        """Return the config of a run that evaluates nothing itself.

        Args:
            setting: What is tried.
            steps: Optimiser steps, rounded to whole epochs.
            work_dir: Folder of the run.
        """
        number = len(self.sides['train'])
        batch = fit_batch_to_data(number)
        epochs = max(round(steps * batch / number), 1)
        plan = Plan('', 0, batch, 0, epochs, 0)
        classes = len(self.sides['train'].metainfo['classes'])

        cfg = make_decoder_config(plan, self.path, classes, number)
        cfg.optim_wrapper.optimizer.lr = setting.rate
        cfg.model.head.state_norm = recipe.STATE_NORM if setting.norm else None
        cfg.randomness = dict(seed=setting.seed)
        train_only(cfg, work_dir, epochs)
        cfg.default_hooks.checkpoint = None
        return cfg

    def _open(self, side: str) -> Any:
        file = f'scores_{side}.safetensors'
        return DATASETS.build(
            dict(type='ScoreDataset', data_root=str(self.path), ann_file=file, test_mode=True)
        )

    def _judge(self, steps: int, scores: dict[str, np.ndarray]) -> State:
        targets = {side: self.sides[side].targets.numpy().astype(np.int8) for side in scores}
        found = judge(scores['val'], targets['val'])
        m_ap = mean_average_precision(scores['val'], targets['val'])
        test: Sequence[float | None] = (None, None)
        if 'test' in scores:
            figures = paper_figures(mark_labels(scores['test'], found.thr), targets['test'])
            test = float(figures[2]), float(figures[5])
        return State(steps, float(m_ap), found.f1_l, found.f1_i, *test)


def try_setting(folder: ScoreFolder, setting: Setting, steps: int) -> list[State]:
    """Train the decoder, and evaluate it from time to time.

    Args:
        folder: The cached scores.
        setting: What is tried.
        steps: Optimiser steps, rounded to whole epochs.
    """
    with tempfile.TemporaryDirectory() as place:
        cfg = folder.make_config(setting, steps, Path(place))
        watch = _WatchHook(folder, cfg.train_cfg.max_epochs)
        runner = Runner.from_cfg(cfg)
        runner.register_hook(watch, 'LOWEST')
        runner.train()
    return watch.states


class _WatchHook(Hook):
    """Evaluates the model after some of the epochs, the last one included."""

    def __init__(self, folder: ScoreFolder, epochs: int) -> None:
        self.folder = folder
        self.states: list[State] = []
        chosen = np.linspace(0, epochs, min(EVALUATIONS, epochs) + 1)[1:]
        self.epochs = {round(epoch) for epoch in chosen}

    def after_train_epoch(self, runner: Runner) -> None:
        if runner.epoch + 1 not in self.epochs:
            return
        runner.model.eval()
        self.states.append(self.folder.judge_decoder(runner.iter, runner.model))
        runner.model.train()


def pick(states: Sequence[State], steps: int, by: str = 'f1') -> State:
    """Return the state that a run of a number of steps keeps.

    Args:
        states: Of a run of at least as many steps.
        steps: Its length.
        by: Attribute that is the highest; ``'steps'`` keeps the last one.
    """
    within = [state for state in states if state.steps <= steps] or [states[0]]
    return max(within, key=lambda state: getattr(state, by))


def list_settings(rates: Sequence[float], norms: Sequence[bool], seeds: int) -> Iterator[Setting]:
    """List what is tried, all of a seed before the next one."""
    for seed in range(seeds):
        for norm in norms:
            for rate in rates:
                yield Setting(rate, norm, seed)


def search(
    paths: Sequence[Path],
    rates: Sequence[float],
    lengths: Sequence[int],
    seeds: int,
    out: Path,
) -> dict[str, Found]:
    """Try all settings on all data; finished runs of the file are not repeated.

    Args:
        paths: Folders of cached scores.
        rates: Learning rates.
        lengths: Optimiser steps; the longest run contains the others.
        seeds: Of every setting.
        out: All runs, written after each one.

    Returns:
        What was found, by the name of the data.

    Raises:
        ValueError: If two folders have the same name, or the file is none of a search.
        OSError: If a file cannot be read or written.
    """
    MMLogger.get_current_instance().setLevel('WARNING')
    folders = [ScoreFolder(path) for path in paths]
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f'Expected folders of different names, but got {", ".join(names)}.')

    store = _Store(out)
    settings = list(list_settings(rates, (False, True), seeds))
    found = {folder.name: Found(folder.judge_cnn()) for folder in folders}
    total = len(settings) * len(folders)
    for index, (setting, folder) in enumerate(itertools.product(settings, folders), 1):
        states = store.run(folder, setting, max(lengths))
        found[folder.name].runs[setting] = states
        best = pick(states, max(lengths))
        gain = best.f1 - found[folder.name].cnn.f1
        print(f'[{index}/{total}] {folder.name}, {setting}: {gain:+.2f}', flush=True)
    return found


class _Store:
    """The finished runs, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = read_json(path) if path.is_file() else {}
        if not isinstance(self.content, dict):
            raise ValueError(f'{path}: expected the runs of a search, but got other JSON.')

    def run(self, folder: ScoreFolder, setting: Setting, steps: int) -> list[State]:
        """Return the states of a run, from the file if it is there."""
        key = f'{folder.name}, {folder.digest}, {steps} steps, {setting}'
        if key not in self.content:
            states = try_setting(folder, setting, steps)
            self.content[key] = [asdict(state) for state in states]
            write_json(self.path, self.content, indent=1)
        return [State(**state) for state in self.content[key]]
