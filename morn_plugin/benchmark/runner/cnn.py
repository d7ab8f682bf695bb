"""Trains the CNN of each seed, and caches its outputs for the methods.

There are three kinds of CNN: one that is fine-tuned for each seed; given checkpoints; or one with
frozen ImageNet weights. The frozen one reads the images once, and a linear classifier on its
features, trained for each seed, takes its place.
"""

import copy
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmpretrain.registry import MODELS

from ...datasets.cached import ScoreFile, load_scores, save_scores
from ...datasets.wrapping import innermost
from ...utils.files import sha256
from ...utils.layout import find_root
from ...utils.strict_json import read_json
from .methods import CNN_RATES, LEARNING_RATE
from .records import SETTINGS, begin, finish, hash_config, read_record
from .source import SIDES, Source

FINETUNED, GIVEN, FROZEN = 'fine-tuned', 'given', 'frozen'
#: The CNN's image-F1 on validation, which its epoch and its learning rate are chosen by.
CHOSEN_BY = 'cnn/per-image/f1-score'
#: The flag of tools/extract_scores.py that adds an input to a file.
FLAGS = dict(
    logits='--features',
    features='--features',
    feature_map='--feature-map',
    stage_maps='--stage-maps',
)


@dataclass(frozen=True)
class Cnn:
    """The CNN whose outputs the methods use.

    Attributes:
        config: Its config.
        kind: ``'fine-tuned'``, ``'given'`` or ``'frozen'``.
        options: Changes to its config.
        checkpoints: The given checkpoints, one for each seed or one for all.
    """

    config: Path
    kind: str = FINETUNED
    options: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: tuple[Path, ...] = ()

    def checkpoint_of(self, seed: int) -> Path:
        """Return the given checkpoint of a seed."""
        return self.checkpoints[seed if len(self.checkpoints) > 1 else 0]


@dataclass(frozen=True)
class Training:
    """A fine-tuning of the CNN.

    Attributes:
        folder: Folder of its checkpoints.
        lr: Its learning rate.
        seed: The seed of its new weights and of the order of images.
    """

    folder: Path
    lr: float
    seed: int

    def run(self, cfg: Config) -> Path:
        """Train unless already done, or resume, and return the checkpoint."""
        train_cnn(cfg, self.folder, self.lr, self.seed)
        return self.folder / read_record(self.folder)['checkpoint']


def complete_config(cnn: Cnn, source: Source) -> Config:
    """Point the CNN's config at a data set; a learning rate among the options is not searched."""
    cfg = Config.fromfile(cnn.config.resolve())  # its paths depend on its own path
    cfg.merge_from_dict(dict(cnn.options))
    if LEARNING_RATE in cnn.options:
        cfg.benchmark = dict(search={LEARNING_RATE: [cnn.options[LEARNING_RATE]]})

    for side in SIDES:
        part = next(innermost(cfg[f'{side}_dataloader'].dataset))
        part.update(source.datasets[side])
    cfg.model.head.num_classes = len(source.classes)
    return cfg


def find_rates(cfg: Config) -> tuple[float, ...]:
    """Return the searched learning rates of the CNN."""
    said = cfg.get('benchmark') or {}
    return tuple((said.get('search') or {}).get(LEARNING_RATE, CNN_RATES))


def write_config(cfg: Config, folder: Path) -> Path:
    """Write a completed config, for the tools."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'config.py'
    cfg.dump(path)
    return path


def train_cnn(cfg: Config, folder: Path, lr: float, seed: int) -> None:
    """Fine-tune the CNN, or resume an interrupted fine-tuning."""
    options = {'optim_wrapper.optimizer.lr': lr, 'randomness.seed': seed}
    if not begin(folder, dict(options, config_sha256=hash_config(cfg))):
        return
    start = time.monotonic()
    best = train_to_best(cfg, folder, folder / 'log.txt', options)
    score = torch.load(best, map_location='cpu', weights_only=True)['message_hub']['runtime_info']
    finish(
        folder,
        time.monotonic() - start,
        checkpoint=best.name,
        f1_image=float(score['best_score']),
    )


def train_to_best(
    cfg: Config, folder: Path, log: Path, options: Mapping[str, Any] | None = None
) -> Path:
    """Train a model in a separate process, or resume an interrupted training.

    Args:
        cfg: Its config.
        folder: Folder of its checkpoints.
        log: File of the process's output.
        options: Changes to the config.

    Returns:
        The checkpoint with the best validation result.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        RuntimeError: If training fails.
    """
    path = write_config(cfg, folder / 'start')
    call_tool('train.py', path, '--work-dir', folder, '--resume', options=options, log=log)
    best = best_checkpoint(folder)
    if best is None:
        raise FileNotFoundError(f'{folder}: expected a checkpoint best_*.pth after training.')
    return best


def prepare_seed(
    cfg: Config,
    training: Path | Training,
    folder: Path,
    inputs: Sequence[str],
    sides: Sequence[str] = SIDES,
) -> None:
    """Make the cached files of a seed, after training its CNN if needed.

    Args:
        cfg: The completed config.
        training: The training of its CNN, or a checkpoint.
        folder: Folder of the files.
        inputs: Contents of the files besides scores.
        sides: The sides to read.
    """
    if isinstance(training, Training):
        training = training.run(cfg)
    cache_inputs(cfg, training, folder, inputs, sides)


def make_frozen(cfg: Config, folder: Path) -> Path:
    """Write a checkpoint of the CNN with ImageNet weights and an untrained classifier.

    Returns:
        The checkpoint.
    """
    path = folder / 'frozen.pth'
    if not begin(folder, dict(config_sha256=hash_config(cfg))):
        return path
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(cfg.model))  # building changes its argument
    MMLogger.get_current_instance().setLevel('WARNING')  # else every tensor's origin is logged
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    finish(folder, 0.0)
    return path


def cache_inputs(
    cfg: Config, checkpoint: Path, folder: Path, inputs: Sequence[str], sides: Sequence[str] = SIDES
) -> None:
    """Run the CNN once over each side and keep the inputs of the methods.

    Args:
        cfg: The completed config.
        checkpoint: The CNN's checkpoint.
        folder: Folder of ``scores_train.safetensors`` and the others.
        inputs: Contents of the files besides scores.
        sides: The sides to read.
    """
    flags = _find_flags(folder, {FLAGS[name] for name in inputs})
    settings = dict(cnn_sha256=sha256(checkpoint), config_sha256=hash_config(cfg), flags=flags)
    if not begin(folder, settings):
        return
    start = time.monotonic()
    path = write_config(cfg, folder / 'start')
    target = folder / 'scores_{split}.safetensors'
    # an existing file is complete
    missing = [side for side in sides if not (folder / f'scores_{side}.safetensors').is_file()]
    if missing:
        call_tool(
            'extract_scores.py',
            path,
            checkpoint,
            target,
            '--split',
            ','.join(missing),
            *flags,
            '--work-dir',
            folder / 'log',  # the tool writes its changed copy of the config here
            log=folder / 'log.txt',
        )
    finish(folder, time.monotonic() - start, cnn_sha256=sha256(checkpoint))


def _find_flags(folder: Path, wanted: set[str]) -> list[str]:
    """Return the flags of the extraction; existing files that hold more than needed keep theirs."""
    path = folder / SETTINGS
    before = set(read_json(path).get('flags', ())) if path.is_file() else set()
    return sorted(before if before > wanted else wanted)


def replace_scores(
    frozen: Path, make_logits: Callable[[], Mapping[str, Any]], folder: Path, origin: str
) -> None:
    """Write the files of a seed with the scores of a linear classifier on a frozen CNN.

    Args:
        frozen: Folder of the frozen CNN's files.
        make_logits: Returns the logits (N, C) of the linear classifier by side, float32.
        folder: Folder of the seed.
        origin: SHA-256 of the linear classifier, which the files give as their CNN.
    """
    if not begin(folder, dict(cnn_sha256=origin)):
        return
    start, found = time.monotonic(), make_logits()
    for side in SIDES:
        file = load_scores(frozen / f'scores_{side}.safetensors')
        logits = torch.from_numpy(found[side])
        kept = {**file.inputs, 'logits': found[side]}
        provenance = dict(file.provenance, checkpoint_sha256=origin)
        content = ScoreFile(logits.sigmoid().numpy(), file.annotations, provenance, kept)
        save_scores(folder / f'scores_{side}.safetensors', content)
    finish(folder, time.monotonic() - start, cnn_sha256=origin)


def best_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint with the best validation result; None if there is none."""
    found = sorted(folder.glob('best_*.pth'))
    return found[-1] if found else None


def choose_rate(folders: Mapping[float, Path]) -> float:
    """Choose the CNN's learning rate: the highest F1_I on validation.

    Args:
        folders: Learning rate to folder of its run.
    """
    return max(folders, key=lambda lr: read_record(folders[lr])['f1_image'])


def call_tool(
    tool: str, *arguments: str | Path, log: Path, options: Mapping[str, Any] | None = None
) -> None:
    """Run a tool of the project with its output in a file; an error shows the end of that file.

    Raises:
        RuntimeError: If the tool fails.
    """
    command = [sys.executable, str(find_root() / 'tools' / tool), *map(str, arguments)]
    if options:
        command += ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'a', encoding='utf-8') as file:
        failed = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if failed:
        tail = '\n'.join(log.read_text(encoding='utf-8', errors='replace').splitlines()[-15:])
        raise RuntimeError(f'{" ".join(command)}\nfailed; the end of {log}:\n{tail}')
