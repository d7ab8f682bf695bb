"""Makes the cached files of every seed from its CNN."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from ...datasets.cached import load_scores
from ..results import RunResult, Side, save_result
from .cnn import (
    FROZEN,
    GIVEN,
    Cnn,
    Training,
    cache_inputs,
    choose_rate,
    find_rates,
    make_frozen,
    prepare_seed,
)
from .records import describe_code, read_record
from .source import SIDES
from .stages import Stages, Task

#: The CNN's own name among the methods.
CNN = 'cnn'
TESTED = ('val', 'test')


@dataclass(frozen=True)
class CachedFiles:
    """The cached files of every seed.

    Attributes:
        out: Folder of the benchmark.
        cnn: The CNN that they come from.
        cfg: Its completed config.
        seeds: Number of seeds.
        inputs: Contents of the files besides scores. None: no method needs the files, so they hold
            only the inputs of the CNN's own row, in a separate folder.
    """

    out: Path
    cnn: Cnn
    cfg: Config
    seeds: int
    inputs: tuple[str, ...] | None

    def of(self, seed: int | str) -> Path:
        """Return the folder of a seed, or that of the frozen CNN by its name."""
        name = seed if isinstance(seed, str) else f'seed_{seed}'
        return self.out / ('scores' if self.inputs is None else 'inputs') / name

    def make(self, stages: Stages) -> None:
        """Make the files of the frozen CNN, or of each seed's CNN, and keep its predictions."""
        if self.cnn.kind == FROZEN:
            with DefaultScope.overwrite_default_scope('mmpretrain'):
                checkpoint = make_frozen(self.cfg, self.out / 'cnn' / FROZEN)
            cache_inputs(self.cfg, checkpoint, self.of(FROZEN), self.inputs or ())
            return

        sides = TESTED if self.inputs is None else SIDES
        tasks = [
            Task(
                f'CNN, seed {seed}',
                prepare_seed,
                (self.cfg, training, self.of(seed), self.inputs or (), sides),
            )
            for seed, training in enumerate(self._trainings(stages))
        ]
        stages.do_first(tasks)
        for seed in range(self.seeds):
            self._save_cnn(seed)

    def _trainings(self, stages: Stages) -> list[Path | Training]:
        """Return the training of each seed's CNN, or its checkpoint."""
        seeds = range(self.seeds)
        if self.cnn.kind == GIVEN:
            return [self.cnn.checkpoint_of(seed) for seed in seeds]
        lr = self._find_rate(stages)
        return [self._training(lr, seed) for seed in seeds]

    def _find_rate(self, stages: Stages) -> float:
        """Search the CNN's learning rate on the first seed, unless there is only one."""
        rates = find_rates(self.cfg)
        if len(rates) == 1:
            return rates[0]

        trials = {lr: self._training(lr, 0) for lr in rates}
        tasks = [Task(f'CNN, lr {lr:g}', trial.run, (self.cfg,)) for lr, trial in trials.items()]
        stages.do_first(tasks)
        return choose_rate({lr: trial.folder for lr, trial in trials.items()})

    def _training(self, lr: float, seed: int) -> Training:
        return Training(self.out / 'cnn' / f'lr_{lr:g}' / f'seed_{seed}', lr, seed)

    def _save_cnn(self, seed: int) -> None:
        """Store the CNN's own predictions as one of the methods."""
        sides: dict[str, Any] = {}
        for side in TESTED:
            file = load_scores(self.of(seed) / f'scores_{side}.safetensors')
            sides[side] = Side(file.annotations.targets(), file.scores > 0.5, file.scores)
        origin = read_record(self.of(seed))['cnn_sha256']
        result = RunResult(
            method=CNN,
            title='CNN',
            tier='joint',
            group='methods',
            seed=seed,
            provenance={**describe_code(), 'cnn_sha256': origin},
            **sides,
        )
        save_result(self.out / 'runs' / CNN / f'seed_{seed}', result)
