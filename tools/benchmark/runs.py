"""Does one run of the benchmark, once: what is done is left alone.

A run's folder holds ``settings.json``, written first, and ``run.json`` (seconds, commit, what
validation said) and ``predictions.npz`` (of the validation and the test side), written last. So a
run that was stopped is begun anew, or resumed where it trains on images, and one that was begun
with other settings is refused. Settings are all that decides the outcome
but the code: the config with every change made, and the checkpoints that it starts from.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from plan import BY_NAME, DROPPED_LABELS, EPOCHS, HOME, JOINT_EPOCHS, ROOT, Variant

import morn_plugin
from morn_plugin.apis import MultiLabelInferencer, check_config
from morn_plugin.apis.collecting import collect_predictions
from morn_plugin.datasets.cached import ScoreFile, load_scores, save_scores
from morn_plugin.models.decisions import select_labels
from morn_plugin.utils.files import atomic_write, sha256

CHECKPOINT, PREDICTIONS, RECORD, SETTINGS = (
    'checkpoint.pth',
    'predictions.npz',
    'run.json',
    'settings.json',
)
SIDES = ('val', 'test')


@dataclass(frozen=True)
class Run:
    """A variant at one learning rate and seed."""

    variant: str
    lr: float
    seed: int

    @property
    def plan(self) -> Variant:
        """The variant itself."""
        return BY_NAME[self.variant]


@dataclass(frozen=True)
class Bench:
    """Where everything lies, and which CNN gives the scores.

    Attributes:
        out: Folder of the whole benchmark.
        cnn_config: Config of the CNN, a path.
        cnn_lr: Its learning rate, once it is chosen.
        options: Changes of every config of a decoder, for trials on small data.
        cnn_options: Changes of every config that trains on images.
        epochs: Of a decoder.
        max_seeds: Train no more seeds than this of anything; None for as many as the plan says.
    """

    out: Path
    cnn_config: str
    cnn_lr: float = 0.0
    options: tuple[tuple[str, Any], ...] = ()
    cnn_options: tuple[tuple[str, Any], ...] = ()
    epochs: int = EPOCHS
    max_seeds: int | None = None

    @property
    def clock(self) -> Path:
        """Where the seconds of the whole are counted."""
        return self.out / 'seconds.txt'

    def count_seeds(self, planned: int) -> int:
        """Give how many seeds are trained where the plan says so many."""
        return planned if self.max_seeds is None else min(planned, self.max_seeds)

    def folder(self, run: Run) -> Path:
        """Give the folder of a decoder's run."""
        return self.out / 'decoders' / run.variant / f'lr_{run.lr:g}' / f'seed_{run.seed}'

    def cnn_folder(self, lr: float, seed: int, weak: bool = False) -> Path:
        """Give the folder of a CNN's run."""
        return self.out / ('cnn_weak' if weak else 'cnn') / f'lr_{lr:g}' / f'seed_{seed}'

    def score_folder(self, kind: str, seed: int) -> Path:
        """Give the folder of the scores that a CNN gave."""
        return self.out / 'scores' / kind / f'seed_{seed}'


def read_record(folder: Path) -> dict[str, Any]:
    """Give what a finished run left.

    Raises:
        FileNotFoundError: If it is not finished.
    """
    path = folder / RECORD
    if not path.is_file():
        raise FileNotFoundError(f'{folder}: this run is not done.')
    return json.loads(path.read_text(encoding='utf-8'))


def check_done(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Tell whether a run is done; note the settings of one that is not yet begun.

    Raises:
        ValueError: If it was begun with other settings, or with none that are known.
    """
    path, expected = folder / SETTINGS, json.loads(json.dumps(settings))
    if path.is_file():
        found = json.loads(path.read_text(encoding='utf-8'))
        if found != expected:
            changed = sorted(
                key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)
            )
            raise ValueError(
                f'{path}: this run was begun with other settings: '
                + ', '.join(
                    f'expected {key}={expected.get(key)!r}, but got {found.get(key)!r}'
                    for key in changed
                )
                + '. Remove the folder to make it anew.'
            )
        return (folder / RECORD).is_file()
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f'{folder}: holds files but no {SETTINGS}, so that nobody knows how they were made. '
            'Remove the folder to make it anew.'
        )
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(json.dumps(expected, indent=1).encode())
    return False


def write_record(folder: Path, seconds: float, **more: Any) -> None:
    with atomic_write(folder / RECORD) as file:
        file.write(
            json.dumps(
                dict(
                    seconds=round(seconds, 1),
                    commit=commit(),
                    torch=torch.__version__,
                    version=morn_plugin.__version__,
                    **more,
                ),
                indent=1,
            ).encode()
        )


def resolve_config(config: str, options: Mapping[str, Any]) -> tuple[Config, str]:
    """Read a config, make the changes.

    And give it with a hash of its text, in which no path of the machine stands.
    """
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(dict(options))
    text = cfg.dump().replace(str(ROOT), '')
    return cfg, hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def count_seconds(path: Path) -> Iterator[None]:
    """Add the seconds of a block to those in a file.

    So that all attempts at a thing are counted.
    """
    start = time.monotonic()
    try:
        yield
    finally:
        path.write_text(str(read_seconds(path) + time.monotonic() - start), encoding='utf-8')


def read_seconds(path: Path) -> float:
    return float(path.read_text(encoding='utf-8')) if path.exists() else 0.0


def commit() -> str:
    """Name the commit of the code, with a plus if files differ from it."""
    try:
        name = subprocess.check_output(
            ['git', '-C', str(ROOT), 'rev-parse', '--short=9', 'HEAD'], text=True
        ).strip()
        changed = subprocess.check_output(
            ['git', '-C', str(ROOT), 'status', '--porcelain', '-uno'], text=True
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return name + '+' * bool(changed)


# --- on images, in a process of its own ---


def train_cnn(bench: Bench, lr: float, seed: int, weak: bool = False) -> None:
    """Fine-tune the CNN; a weak one for a single epoch."""
    folder = bench.cnn_folder(lr, seed, weak)
    options = {**dict(bench.cnn_options), 'optim_wrapper.optimizer.lr': lr, 'randomness.seed': seed}
    if weak:
        options['train_cfg.max_epochs'] = 1
    if check_done(
        folder, dict(options, config_sha256=resolve_config(bench.cnn_config, options)[1])
    ):
        return
    seconds = _train_images(bench.cnn_config, folder, options)
    best = _best_checkpoint(folder)
    write_record(folder, seconds, validation=_best_validation(folder, 'cnn/'), checkpoint=best.name)


def cache_scores(bench: Bench, seed: int, kind: str) -> None:
    """Cache the scores of the training, validation and test side."""
    folder, start = bench.score_folder(kind, seed), time.monotonic()
    checkpoint = _best_checkpoint(bench.cnn_folder(bench.cnn_lr, seed, kind == 'weak'))
    settings = dict(
        cnn_sha256=sha256(checkpoint), dropped=DROPPED_LABELS if kind == 'incomplete' else 0
    )
    if check_done(folder, settings):
        return
    if kind == 'incomplete':
        full = bench.score_folder('full', seed)
        file = load_scores(full / 'scores_train.safetensors')
        save_scores(folder / 'scores_train.safetensors', drop_labels(file, DROPPED_LABELS, seed))
        for side in SIDES:
            shutil.copy(full / f'scores_{side}.safetensors', folder)
    else:
        for side in ('train', *SIDES):
            _call(
                'tools/extract_scores.py',
                bench.cnn_config,
                str(checkpoint),
                str(folder / f'scores_{side}.safetensors'),
                '--split',
                side,
                '--work-dir',
                str(folder / 'log'),
                options=dict(bench.cnn_options),
                log=folder / 'log.txt',
            )
    write_record(folder, time.monotonic() - start)


def drop_labels(file: ScoreFile, share: float, seed: int) -> ScoreFile:
    """Take a share of all labels away at random, as annotators who stop early do."""
    rng = np.random.default_rng(seed)
    for item in file.annotations.data_list:
        item['gt_label'] = [label for label in item['gt_label'] if rng.random() >= share]
    return file


def train_joint(bench: Bench, run: Run, base: Run) -> None:
    """Train CNN and decoder on images, from those that were trained one after the other."""
    folder, plan = bench.folder(run), run.plan
    config = str(ROOT / 'configs' / plan.config)
    options = {
        **dict(bench.cnn_options),
        **plan.options,
        'train_cfg.max_epochs': JOINT_EPOCHS,
        'optim_wrapper.optimizer.lr': run.lr,
        'randomness.seed': run.seed,
    }
    cnn, decoder = (
        _best_checkpoint(bench.cnn_folder(bench.cnn_lr, run.seed)),
        bench.folder(base) / CHECKPOINT,
    )
    if check_done(
        folder,
        dict(
            options,
            config_sha256=resolve_config(config, options)[1],
            cnn_sha256=sha256(cnn),
            decoder_sha256=sha256(decoder),
        ),
    ):
        return
    start = folder / 'start.pth'
    _call(
        'tools/model_converters/merge_decoder.py',
        str(cnn),
        str(decoder),
        str(start),
        log=folder / 'log.txt',
    )
    seconds = _train_images(config, folder, dict(options, load_from=str(start)))
    inferencer = MultiLabelInferencer(str(_best_checkpoint(folder)), next(folder.glob('*.py')))
    arrays: dict[str, np.ndarray] = {}
    for side in SIDES:
        data = collect_predictions(inferencer, f'{side}_dataloader')
        arrays |= {
            f'{side}_score': data.scores,
            f'{side}_label': data.predicted,
            f'{side}_first': data.first_scores,
            f'{side}_target': data.targets,
            f'{side}_path': np.asarray(data.step_labels),
        }
    _save_predictions(folder, arrays)
    write_record(folder, seconds, validation=_best_validation(folder))
    for path in folder.glob('*.pth'):
        path.unlink()


def _train_images(config: str, folder: Path, options: Mapping[str, Any]) -> float:
    """Run tools/train.py, resuming; give the seconds of all attempts."""
    clock = folder / 'seconds.txt'
    with count_seconds(clock):
        _call(
            'tools/train.py',
            config,
            '--work-dir',
            str(folder),
            '--resume',
            options=options,
            log=folder / 'log.txt',
        )
    return read_seconds(clock)


def _call(
    script: str, *arguments: str, log: Path, options: Mapping[str, Any] | None = None
) -> None:
    """Run a tool of the project; its output goes to a file, of which an error shows the end.

    Raises:
        RuntimeError: If it failed.
    """
    command = [sys.executable, str(ROOT / script), *arguments]
    if options:
        command += [
            '--cfg-options',
            *(f'{key}={_as_text(value)}' for key, value in options.items()),
        ]
    with open(log, 'a', encoding='utf-8') as file:
        failed = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, cwd=HOME).returncode
    if failed:
        tail = '\n'.join(log.read_text(encoding='utf-8', errors='replace').splitlines()[-15:])
        raise RuntimeError(f'{" ".join(command)}\nfailed; the end of {log}:\n{tail}')


def _as_text(value: Any) -> str:
    return str(value).replace(' ', '') if isinstance(value, (list, tuple)) else str(value)


# --- on cached scores, in this process ---


def train_decoder(bench: Bench, run: Run, base: Run | None = None) -> None:
    """Train a decoder on cached scores, or take the checkpoint of ``base``.

    And predict the validation and the test side.
    """
    folder, plan, start = bench.folder(run), run.plan, time.monotonic()
    options = {
        'train_cfg.max_epochs': bench.epochs,
        'optim_wrapper.optimizer.lr': run.lr,
        **dict(bench.options),
        **plan.options,
        'randomness.seed': run.seed,
    }
    cfg, config_sha256 = resolve_config(str(ROOT / 'configs' / plan.config), options)
    scores = bench.score_folder(plan.scores, run.seed)
    settings = dict(
        options,
        config_sha256=config_sha256,
        scores_sha256=sha256(scores / 'scores_train.safetensors'),
    )
    if base is not None:
        settings['decoder_sha256'] = sha256(bench.folder(base) / CHECKPOINT)
    if check_done(folder, settings):
        return
    _clear(folder)
    runner = Runner.from_cfg(_complete(cfg, bench, run, scores))
    if base is None:
        runner.train()
        _best_checkpoint(folder).rename(folder / CHECKPOINT)
    checkpoint = bench.folder(base or run) / CHECKPOINT
    model = runner.model
    model.load_state_dict(torch.load(checkpoint, weights_only=True)['state_dict'])
    model.eval()
    arrays: dict[str, np.ndarray] = {}
    for side in SIDES:
        file = load_scores(scores / f'scores_{side}.safetensors')
        arrays |= {
            f'{side}_{key}': value for key, value in predict(model.head.decoder, file).items()
        }
    _save_predictions(folder, arrays)
    write_record(
        folder, time.monotonic() - start, validation={} if base else _best_validation(folder)
    )
    if base is None and all(other.base != run.variant for other in BY_NAME.values()):
        checkpoint.unlink()


def _clear(folder: Path) -> None:
    """Remove what an attempt that was stopped has left."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != SETTINGS:
            path.unlink()


def _complete(cfg: Config, bench: Bench, run: Run, scores: Path) -> Config:
    """Name the places: where the scores are, and where the run writes."""
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].dataset.data_root = str(scores) + os.sep
    cfg.work_dir = str(bench.folder(run))
    cfg.experiment_name = f'{run.variant}_{run.lr:g}_{run.seed}_{os.getpid()}'
    cfg.default_hooks.checkpoint.update(
        interval=-1, save_last=False, save_optimizer=False, save_param_scheduler=False
    )
    cfg.default_hooks.data_check.overlap = 'ignore'  # compared once, when the CNN was trained
    check_config(cfg, run.plan.config)
    return cfg


@torch.inference_mode()
def predict(decoder: Any, file: ScoreFile) -> dict[str, np.ndarray]:
    """Predict a score file.

    Returns:
        ``score``, ``first`` (scores after one step) (N, C) float32, ``label`` (N, C) bool,
        ``target`` (N, C) int8, ``path`` (N, T) int16, the labels picked step by step.
    """
    parts = [decoder.predict(scores) for scores in torch.from_numpy(file.scores).split(512)]
    scores = torch.cat([part['pred_score'] for part in parts])
    label = torch.cat(
        [part.get('pred_label', select_labels(part['pred_score'], None, None)) for part in parts]
    )
    first = torch.cat([part['step_scores'][:, 0] for part in parts])
    path = torch.cat([part['step_labels'] for part in parts]).short()
    return dict(
        score=scores.numpy(),
        first=first.numpy(),
        label=label.numpy(),
        target=file.annotations.targets(),
        path=path.numpy(),
    )


def predict_cnn(bench: Bench, seed: int, kind: str) -> dict[str, np.ndarray]:
    """Give the CNN's own predictions from its cached scores, laid out as those of a decoder."""
    arrays: dict[str, np.ndarray] = {}
    for side in SIDES:
        file = load_scores(bench.score_folder(kind, seed) / f'scores_{side}.safetensors')
        arrays |= {
            f'{side}_score': file.scores,
            f'{side}_first': file.scores,
            f'{side}_label': file.scores > 0.5,
            f'{side}_target': file.annotations.targets(),
        }
    return arrays


def _save_predictions(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    named: dict[str, Any] = dict(arrays)
    with atomic_write(folder / PREDICTIONS) as file:
        np.savez_compressed(file, **named)


def _best_checkpoint(folder: Path) -> Path:
    found = sorted(folder.glob('best_*.pth'))
    if len(found) != 1:
        raise FileNotFoundError(
            f'{folder}: expected one checkpoint best_*.pth, but got '
            f'{[path.name for path in found]}.'
        )
    return found[0]


def _best_validation(folder: Path, prefix: str = '') -> dict[str, float]:
    """Read the validation figures of the best epoch from MMEngine's scalars."""
    key = f'{prefix}per-image/f1-score'
    best: dict[str, float] = {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            figures = json.loads(line)
            if key in figures and figures[key] > best.get(key, -1.0):
                best = figures
    return dict(
        f1_image=best[key], f1_label=best[f'{prefix}per-label/f1-score'], epoch=best['step']
    )
