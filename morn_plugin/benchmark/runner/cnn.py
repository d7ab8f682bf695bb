"""The CNN of each seed, and the cached files that it leaves for the methods.

There are three ways to a CNN: it is fine-tuned for each seed; checkpoints are given; or one with
ImageNet weights stays frozen, so that images are read once, and a linear classifier on its features
is trained for each seed in its place.
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
#: The image-F1 of the CNN alone on validation, by which its epoch and its learning rate are chosen.
CHOSEN_BY = 'cnn/per-image/f1-score'
#: What tools/extract_scores.py is asked for to get an input into a file.
FLAGS = dict(
    logits='--features',
    features='--features',
    feature_map='--feature-map',
    stage_maps='--stage-maps',
)


@dataclass(frozen=True)
class Cnn:
    """Which CNN the methods stand on.

    Attributes:
        config: Its config.
        kind: ``'fine-tuned'``, ``'given'`` or ``'frozen'``.
        options: Changes of its config.
        checkpoints: Those that are given, one a seed or one for all.
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
        folder: Of its checkpoints.
        lr: Its learning rate.
        seed: Of its new weights and its order of images.
    """

    folder: Path
    lr: float
    seed: int

    def run(self, cfg: Config) -> Path:
        """Do it, unless it is done, and return the checkpoint; a stopped one goes on."""
        train_cnn(cfg, self.folder, self.lr, self.seed)
        return self.folder / read_record(self.folder)['checkpoint']


def complete_config(cnn: Cnn, source: Source) -> Config:
    """Point the CNN's config at a data set."""
    cfg = Config.fromfile(cnn.config.resolve())  # paths in it follow from its own
    cfg.merge_from_dict(dict(cnn.options))
    for side in SIDES:
        part = next(innermost(cfg[f'{side}_dataloader'].dataset))
        part.update(source.datasets[side])
    cfg.model.head.num_classes = len(source.classes)
    return cfg


def find_rates(cfg: Config) -> tuple[float, ...]:
    """Return the learning rates of the CNN that are searched."""
    said = cfg.get('benchmark') or {}
    return tuple((said.get('search') or {}).get(LEARNING_RATE, CNN_RATES))


def write_config(cfg: Config, folder: Path) -> Path:
    """Write a completed config, for the tools."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'config.py'
    cfg.dump(path)
    return path


def train_cnn(cfg: Config, folder: Path, lr: float, seed: int) -> None:
    """Fine-tune the CNN; where that was stopped, it goes on."""
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
    """Train a model in a process of its own; where that was stopped, it goes on.

    Args:
        cfg: Its config.
        folder: Of its checkpoints.
        log: File of the process's output.
        options: Changes of the config.

    Returns:
        The checkpoint that was best on validation.

    Raises:
        FileNotFoundError: If there is none.
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
    """Make the cached files of a seed, after training its CNN where it is to be trained.

    Args:
        cfg: The completed config.
        training: How its CNN is trained, or a checkpoint.
        folder: Of the files.
        inputs: What they hold beside scores.
        sides: Those that are read.
    """
    if isinstance(training, Training):
        training = training.run(cfg)
    cache_inputs(cfg, training, folder, inputs, sides)


def make_frozen(cfg: Config, folder: Path) -> Path:
    """Write a checkpoint of the CNN with its ImageNet weights; its classifier is untrained.

    Returns:
        The checkpoint.
    """
    path = folder / 'frozen.pth'
    if not begin(folder, dict(config_sha256=hash_config(cfg))):
        return path
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(cfg.model))  # building changes what it builds from
    MMLogger.get_current_instance().setLevel('WARNING')  # else it says how each tensor came about
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    finish(folder, 0.0)
    return path


def cache_inputs(
    cfg: Config, checkpoint: Path, folder: Path, inputs: Sequence[str], sides: Sequence[str] = SIDES
) -> None:
    """Run the CNN once over each side and keep what methods see.

    Args:
        cfg: The completed config.
        checkpoint: Of the CNN.
        folder: Where ``scores_train.safetensors`` and the others go.
        inputs: What files hold beside scores.
        sides: Those that are read.
    """
    flags = _find_flags(folder, {FLAGS[name] for name in inputs})
    settings = dict(cnn_sha256=sha256(checkpoint), config_sha256=hash_config(cfg), flags=flags)
    if not begin(folder, settings):
        return
    start = time.monotonic()
    path = write_config(cfg, folder / 'start')
    for side in sides:
        target = folder / f'scores_{side}.safetensors'
        if target.is_file():
            continue  # files appear whole
        call_tool(
            'extract_scores.py',
            path,
            checkpoint,
            target,
            '--split',
            side,
            *flags,
            '--work-dir',
            folder / 'log',  # where a tool leaves its own copy of the config, changed
            log=folder / 'log.txt',
        )
    finish(folder, time.monotonic() - start, cnn_sha256=sha256(checkpoint))


def _find_flags(folder: Path, wanted: set[str]) -> list[str]:
    """Return the flags of the extraction; those of files that hold more than is wanted stay."""
    path = folder / SETTINGS
    before = set(read_json(path).get('flags', ())) if path.is_file() else set()
    return sorted(before if before > wanted else wanted)


def replace_scores(
    frozen: Path, make_logits: Callable[[], Mapping[str, Any]], folder: Path, origin: str
) -> None:
    """Write the files of a seed whose scores are those of a linear classifier on a frozen CNN.

    Args:
        frozen: Folder of the frozen CNN's files.
        make_logits: Returns the logits (N, C) of the linear classifier by side, float32.
        folder: Folder of the seed.
        origin: SHA-256 of the linear classifier, under which files name the CNN.
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
    """Return the checkpoint that was best on validation; None where there is none."""
    found = sorted(folder.glob('best_*.pth'))
    return found[-1] if found else None


def choose_rate(folders: Mapping[float, Path]) -> float:
    """Choose the CNN's learning rate: the highest F1_I on validation.

    Args:
        folders: Learning rate to the folder of its run.
    """
    return max(folders, key=lambda lr: read_record(folders[lr])['f1_image'])


def call_tool(
    tool: str, *arguments: str | Path, log: Path, options: Mapping[str, Any] | None = None
) -> None:
    """Run a tool of the project; its output goes to a file, of which an error shows the end.

    Raises:
        RuntimeError: If it failed.
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
