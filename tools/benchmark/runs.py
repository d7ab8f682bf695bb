"""Does one run of the benchmark, once: what is done is left alone.

A run's folder holds ``run.json`` (settings, seconds, what validation said) and ``predictions.npz`` (of the validation and
the test side). They are written last, so that a run that was stopped is begun anew, or resumed where it trains on images.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from plan import BY_NAME, DROPPED_LABELS, EPOCHS, JOINT_EPOCHS, Variant

import morn_plugin
from morn_plugin.apis import MultiLabelInferencer, check_config
from morn_plugin.apis.collecting import collect_predictions
from morn_plugin.datasets.annotations import atomic_write
from morn_plugin.datasets.score_file import ScoreFile, load_scores, save_scores
from morn_plugin.models.heads.label_decoder_head import select_labels

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT, PREDICTIONS, RECORD = 'checkpoint.pth', 'predictions.npz', 'run.json'
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
    """

    out: Path
    cnn_config: str
    cnn_lr: float = 0.0
    options: tuple[tuple[str, Any], ...] = ()
    cnn_options: tuple[tuple[str, Any], ...] = ()
    epochs: int = EPOCHS

    def folder(self, run: Run) -> Path:
        """Give the folder of a decoder's run."""
        return self.out / 'decoders' / run.variant / f'lr_{run.lr:g}' / f'seed_{run.seed}'

    def cnn_folder(self, lr: float, seed: int, weak: bool = False) -> Path:
        """Give the folder of a CNN's run."""
        return self.out / ('cnn_weak' if weak else 'cnn') / f'lr_{lr:g}' / f'seed_{seed}'

    def score_folder(self, kind: str, seed: int) -> Path:
        """Give the folder of the scores that a CNN gave."""
        return self.out / 'scores' / kind / f'seed_{seed}'


def read_record(folder: Path) -> dict[str, Any] | None:
    """Give what a finished run left, None if it is not finished."""
    path = folder / RECORD
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None


def check_done(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Tell whether a run is done.

    Raises:
        ValueError: If it was done with other settings.
    """
    record = read_record(folder)
    if record is None:
        return False
    expected = json.loads(json.dumps(settings))
    if record['settings'] != expected:
        raise ValueError(f'{folder / RECORD}: this run was made with other settings: expected {expected}, but got '
                         f'{record["settings"]}. Remove the folder to make it anew.')
    return True


def write_record(folder: Path, settings: Mapping[str, Any], seconds: float, **more: Any) -> None:
    with atomic_write(folder / RECORD) as file:
        file.write(json.dumps(dict(settings=settings, seconds=round(seconds, 1), commit=commit(), torch=torch.__version__,
                                   version=morn_plugin.__version__, **more), indent=1).encode())


def commit() -> str:
    """Name the commit of the code, with a plus if files differ from it."""
    try:
        name = subprocess.check_output(['git', '-C', str(ROOT), 'rev-parse', '--short=9', 'HEAD'], text=True).strip()
        changed = subprocess.check_output(['git', '-C', str(ROOT), 'status', '--porcelain', '-uno'], text=True).strip()
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
    if check_done(folder, options):
        return
    seconds = _train_images(bench.cnn_config, folder, options)
    best = _best_checkpoint(folder)
    write_record(folder, options, seconds, validation=_best_validation(folder, 'cnn/'), checkpoint=best.name)


def cache_scores(bench: Bench, seed: int, kind: str) -> None:
    """Cache the scores of the training, validation and test side."""
    folder = bench.score_folder(kind, seed)
    if (folder / 'scores_test.safetensors').exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if kind == 'incomplete':
        full = bench.score_folder('full', seed)
        file = load_scores(full / 'scores_train.safetensors')
        save_scores(folder / 'scores_train.safetensors', drop_labels(file, DROPPED_LABELS, seed))
        for side in SIDES:
            shutil.copy(full / f'scores_{side}.safetensors', folder)
        return
    checkpoint = _best_checkpoint(bench.cnn_folder(bench.cnn_lr, seed, kind == 'weak'))
    for side in ('train', *SIDES):
        _call('tools/extract_scores.py', bench.cnn_config, str(checkpoint), str(folder / f'scores_{side}.safetensors'),
              '--split', side, '--work-dir', str(folder / 'log'), options=dict(bench.cnn_options), log=folder / 'log.txt')


def drop_labels(file: ScoreFile, share: float, seed: int) -> ScoreFile:
    """Take a share of all labels away at random, as annotators who stop early do."""
    rng = np.random.default_rng(seed)
    for item in file.annotations.data_list:
        item['gt_label'] = [label for label in item['gt_label'] if rng.random() >= share]
    return file


def train_joint(bench: Bench, run: Run, base: Run) -> None:
    """Train CNN and decoder on images, from those that were trained one after the other."""
    folder, plan = bench.folder(run), run.plan
    options = {**dict(bench.cnn_options), **plan.options, 'train_cfg.max_epochs': JOINT_EPOCHS,
               'optim_wrapper.optimizer.lr': run.lr, 'randomness.seed': run.seed}
    settings = dict(options, base_lr=base.lr, cnn_lr=bench.cnn_lr)
    if check_done(folder, settings):
        return
    start = folder / 'start.pth'
    folder.mkdir(parents=True, exist_ok=True)
    cnn = _best_checkpoint(bench.cnn_folder(bench.cnn_lr, run.seed))
    _call('tools/model_converters/merge_decoder.py', str(cnn), str(bench.folder(base) / CHECKPOINT), str(start),
          log=folder / 'log.txt')
    seconds = _train_images(str(ROOT / 'configs' / plan.config), folder, dict(options, load_from=str(start)))
    inferencer = MultiLabelInferencer(str(_best_checkpoint(folder)), next(folder.glob('*.py')))
    arrays: dict[str, np.ndarray] = {}
    for side in SIDES:
        data = collect_predictions(inferencer, f'{side}_dataloader')
        first = data.scores if data.step_scores is None else data.step_scores[:, 0]
        arrays |= {f'{side}_score': data.scores, f'{side}_label': data.predicted, f'{side}_first': first,
                   f'{side}_target': data.targets}
    _save_predictions(folder, arrays)
    write_record(folder, settings, seconds, validation=_best_validation(folder))
    for path in folder.glob('*.pth'):
        path.unlink()


def _train_images(config: str, folder: Path, options: Mapping[str, Any]) -> float:
    """Run tools/train.py, resuming; give the seconds of all attempts."""
    folder.mkdir(parents=True, exist_ok=True)
    clock = folder / 'seconds.txt'
    before, start = float(clock.read_text()) if clock.exists() else 0.0, time.monotonic()
    try:
        _call('tools/train.py', config, '--work-dir', str(folder), '--resume', options=options, log=folder / 'log.txt')
    finally:
        clock.write_text(str(before + time.monotonic() - start))
    return float(clock.read_text())


def _call(script: str, *arguments: str, log: Path, options: Mapping[str, Any] | None = None) -> None:
    """Run a tool of the project; its output goes to a file, of which an error shows the end.

    Raises:
        RuntimeError: If it failed.
    """
    command = [sys.executable, str(ROOT / script), *arguments]
    if options:
        command += ['--cfg-options', *(f'{key}={_as_text(value)}' for key, value in options.items())]
    with open(log, 'a', encoding='utf-8') as file:
        failed = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT).returncode
    if failed:
        tail = '\n'.join(log.read_text(encoding='utf-8', errors='replace').splitlines()[-15:])
        raise RuntimeError(f'{" ".join(command)}\nfailed; the end of {log}:\n{tail}')


def _as_text(value: Any) -> str:
    return str(value).replace(' ', '') if isinstance(value, (list, tuple)) else str(value)


# --- on cached scores, in this process ---

def train_decoder(bench: Bench, run: Run, base: Run | None = None) -> None:
    """Train a decoder on cached scores, or take the checkpoint of ``base``, and predict the validation and the test side."""
    folder, plan, start = bench.folder(run), run.plan, time.monotonic()
    options = {'train_cfg.max_epochs': bench.epochs, 'optim_wrapper.optimizer.lr': run.lr, **dict(bench.options),
               **plan.options, 'randomness.seed': run.seed}
    if check_done(folder, dict(options, cnn_lr=bench.cnn_lr)):
        return
    if base is None:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    cfg = _decoder_config(bench, run, options)
    runner = Runner.from_cfg(cfg)
    if base is None:
        runner.train()
        _best_checkpoint(folder).rename(folder / CHECKPOINT)
    checkpoint = bench.folder(base or run) / CHECKPOINT
    model = runner.model
    model.load_state_dict(torch.load(checkpoint, weights_only=True)['state_dict'])
    model.eval()
    arrays: dict[str, np.ndarray] = {}
    for side in SIDES:
        file = load_scores(bench.score_folder(plan.scores, run.seed) / f'scores_{side}.safetensors')
        arrays |= {f'{side}_{key}': value for key, value in predict(model.head.decoder, file).items()}
    _save_predictions(folder, arrays)
    validation = {} if base else _best_validation(folder)
    write_record(folder, dict(options, cnn_lr=bench.cnn_lr), time.monotonic() - start, validation=validation)
    if base is None and all(other.base != run.variant for other in BY_NAME.values()):
        checkpoint.unlink()


def _decoder_config(bench: Bench, run: Run, options: Mapping[str, Any]) -> Config:
    cfg = Config.fromfile(ROOT / 'configs' / run.plan.config)
    cfg.merge_from_dict(dict(options))
    scores = str(bench.score_folder(run.plan.scores, run.seed)) + os.sep
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].dataset.data_root = scores
    cfg.work_dir = str(bench.folder(run))
    cfg.experiment_name = f'{run.variant}_{run.lr:g}_{run.seed}_{os.getpid()}'
    cfg.default_hooks.checkpoint.update(interval=-1, save_last=False, save_optimizer=False, save_param_scheduler=False)
    cfg.default_hooks.data_check.overlap = 'ignore'  # compared once, when the CNN was trained
    check_config(cfg, run.plan.config)
    return cfg


@torch.inference_mode()
def predict(decoder: Any, file: ScoreFile) -> dict[str, np.ndarray]:
    """Predict a score file.

    Returns:
        ``score``, ``first`` (scores after one step) (N, C) float32, ``label`` (N, C) bool, ``target`` (N, C) int8.
    """
    parts = [decoder.predict(scores) for scores in torch.from_numpy(file.scores).split(512)]
    scores = torch.cat([part['pred_score'] for part in parts])
    label = torch.cat([part.get('pred_label', select_labels(part['pred_score'], None, None)) for part in parts])
    first = torch.cat([part['step_scores'][:, 0] for part in parts])
    return dict(score=scores.numpy(), first=first.numpy(), label=label.numpy(), target=file.annotations.targets())


def predict_cnn(bench: Bench, seed: int, kind: str) -> dict[str, np.ndarray]:
    """Give the CNN's own predictions from its cached scores, laid out as those of a decoder."""
    arrays: dict[str, np.ndarray] = {}
    for side in SIDES:
        file = load_scores(bench.score_folder(kind, seed) / f'scores_{side}.safetensors')
        arrays |= {f'{side}_score': file.scores, f'{side}_first': file.scores, f'{side}_label': file.scores > 0.5,
                   f'{side}_target': file.annotations.targets()}
    return arrays


def _save_predictions(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with atomic_write(folder / PREDICTIONS) as file:
        np.savez_compressed(file, **arrays)


def _best_checkpoint(folder: Path) -> Path:
    found = sorted(folder.glob('best_*.pth'))
    if len(found) != 1:
        raise FileNotFoundError(f'{folder}: expected one checkpoint best_*.pth, but got {[path.name for path in found]}.')
    return found[0]


def _best_validation(folder: Path, prefix: str = '') -> dict[str, float]:
    """Read the validation figures of the best epoch from MMEngine's scalars."""
    key, best = f'{prefix}per-image/f1-score', {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            figures = json.loads(line)
            if key in figures and figures[key] > best.get(key, -1.0):
                best = figures
    return dict(f1_image=best[key], f1_label=best[f'{prefix}per-label/f1-score'], epoch=best['step'])
