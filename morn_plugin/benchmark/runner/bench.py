"""The whole of a benchmark: plan, CNN, searches, seeds, page. What is done is left alone."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS

from ...apis.finding import read_own_config
from ...datasets.cached import load_scores
from ...utils.files import sha256
from ...utils.strict_json import read_json, write_json
from ..page import PAGE, write_page
from ..results import BenchmarkInfo, Group, RunResult, Side, load_result, save_info, save_result
from .cell import WEIGHTS, Cell, Run, linear_logits, run_cell
from .cnn import (
    FINETUNED,
    FROZEN,
    GIVEN,
    Cnn,
    Training,
    cache_inputs,
    choose_rate,
    complete_config,
    make_frozen,
    prepare_seed,
    replace_scores,
)
from .joint import JointRun, name_table, run_joint
from .methods import LEARNING_RATE, LINEAR, MAX_OWN, Method, find_methods
from .plan import Costs, Plan, describe_plan, estimate_seconds, fit_plan, make_plan
from .probing import SeenImage, estimate_training, probe_cnn, probe_method
from .records import RECORD, describe_code, read_record
from .search import Search, describe_settings, is_done, name_settings, shorten_keys
from .source import SIDES, Source
from .stages import OutOfTimeError, Stages, Task

CNN = 'cnn'
#: What sequences of labels are compared with as well.
MULTI_ORDER = 'morn'
CNN_RATES = (2e-3, 4e-3, 8e-3)
CLOCK = 'seconds.json'


@dataclass(frozen=True)
class Options:
    """How a benchmark is made.

    Attributes:
        out: Folder of everything; what is there is gone on with.
        cnn: Which CNN the methods stand on.
        seeds: Of every method.
        hours: What the plan is cut to, and after which no run is started. None: no limit.
        max_epochs: Most epochs of any method.
        workers: Runs at a time; 0 for runs in this process.
        topk: k of exactly k labels. None: what the training images have on average.
        command: Which the page names.
        page: Folder of the page. None: ``page`` in ``out``.
        resamples: Of the bootstrap over test images.
    """

    out: Path
    cnn: Cnn
    seeds: int = 5
    hours: float | None = None
    max_epochs: int = 15
    workers: int = 1
    topk: int | None = None
    command: str = ''
    page: Path | None = None
    resamples: int = 1000


class Bench:
    """One benchmark.

    Args:
        source: The data.
        methods: Those to compare.
        options: How.
    """

    def __init__(self, source: Source, methods: Sequence[Method], options: Options) -> None:
        self.source, self.options, self.out = source, options, options.out
        self.topk = options.topk or source.mean_labels()
        self.cnn_config: Config = complete_config(options.cnn, source)
        self.is_frozen = options.cnn.kind == FROZEN
        self.reference = LINEAR if self.is_frozen else CNN
        #: What the plan says of methods that are not run.
        self.notes: list[str] = []
        methods = self._without_what_trains(self._with_controls(methods))
        self.methods = self._with_linear([self._at_rates_of_the_cnn(item) for item in methods])

    def _with_controls(self, methods: Sequence[Method]) -> list[Method]:
        """Add the methods that others of several views stand beside.

        Raises:
            ValueError: If there is no such method.
        """
        known = {method.name: method for method in (*find_methods(), *methods)}
        found = {method.name: method for method in methods}
        for method in methods:
            if method.control and method.control not in known:
                raise ValueError(
                    f'{method.config}: expected `benchmark.control` to be a method, but got '
                    f'{method.control!r}.'
                )
            if method.control:
                found.setdefault(method.control, known[method.control])
        return list(found.values())

    def _without_what_trains(self, methods: Sequence[Method]) -> list[Method]:
        """Leave out what trains the CNN where that stays frozen."""
        if not self.is_frozen:
            return list(methods)
        joint = [method.name for method in methods if method.is_joint]
        if joint:
            self.notes.append(f'Left out: {", ".join(joint)} train the CNN, which stays frozen.')
        return [method for method in methods if not method.is_joint]

    def _at_rates_of_the_cnn(self, method: Method) -> Method:
        """Search a method that trains the CNN as the CNN, unless its config says otherwise."""
        own = method.search.get(LEARNING_RATE, CNN_RATES)
        if not method.is_joint or own != CNN_RATES:
            return method
        return replace(method, search={**method.search, LEARNING_RATE: self.cnn_rates})

    def _with_linear(self, methods: Sequence[Method]) -> tuple[Method, ...]:
        """Put the linear classifier first, which takes the CNN's place where that is frozen."""
        others = [method for method in methods if method.name != LINEAR]
        if len(others) == len(methods) and not self.is_frozen:
            return tuple(others)
        (linear,) = (method for method in find_methods() if method.name == LINEAR)
        return (linear, *others)

    @property
    def has_cached_methods(self) -> bool:
        """Whether a method trains on cached files, which are else those of the CNN's own row."""
        return not all(method.is_joint for method in self.methods)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """What cached files hold beside scores, for all methods."""
        found = {'features'} if self.has_cached_methods else set()
        for method in self.methods:
            if not method.is_joint:
                found |= set(self._inputs_of(method))
        return tuple(sorted(found - {'scores'}))

    def _inputs_of(self, method: Method) -> tuple[str, ...]:
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            head = MODELS.build(read_own_config(str(method.config), None).model.head)
        return head.inputs

    @cached_property
    def image(self) -> SeenImage:
        """What the CNN makes of an image."""
        return probe_cnn(self.cnn_config)

    # --- the plan ---

    def probe(self) -> Costs:
        """Time the CNN and every method; what finished runs took counts for more."""
        self._leave_out_what_lacks_stages(self.image)
        runs = {
            method.name: self._measured(method) or self._probe(method) for method in self.methods
        }
        return Costs(runs, self._cnn_seconds(self.image), self._disk_bytes(self.image))

    def _probe(self, method: Method) -> float:
        """Estimate the seconds of one run of a method."""
        if method.is_joint:
            return self._training_seconds(method.views)
        train = self.source.annotations['train']
        return probe_method(method, self.image, train, self.options.max_epochs)

    def _training_seconds(self, views: int = 1) -> float:
        """Estimate the seconds of training the CNN once, with some views of an image a step."""
        sizes = {side: len(self.source.annotations[side]) for side in SIDES}
        return estimate_training(self.image, sizes, self.cnn_config.train_cfg.max_epochs, views)

    def _leave_out_what_lacks_stages(self, image: SeenImage) -> None:
        """Leave methods of several stages out where the CNN gives one."""
        if len(image.stages) > 1:
            return
        lacking = [method for method in self.methods if 'stage_maps' in self._inputs_of(method)]
        for method in lacking:
            print(f'{method.name} is left out: it sees several stages, of which the CNN gives one.')
        self.methods = tuple(method for method in self.methods if method not in lacking)
        self.__dict__.pop('inputs', None)

    def _measured(self, method: Method) -> float:
        """Return the mean seconds of a method's finished runs; 0 without any."""
        paths = [*self.out.glob(f'*/{method.name}/**/{RECORD}')]
        seconds = [read_record(path.parent)['seconds'] for path in paths]
        return sum(seconds) / len(seconds) if seconds else 0.0

    def _cnn_seconds(self, image: SeenImage) -> float:
        """Estimate what is left of reading images, by a network or to train it."""
        if (self._inputs(FROZEN if self.is_frozen else self.options.seeds - 1) / RECORD).is_file():
            return 0.0
        reading = sum(map(len, self.source.annotations.values())) * image.seconds
        if self.is_frozen:
            return reading
        is_trained = self.options.cnn.kind == FINETUNED
        runs = self.options.seeds + len(self.cnn_rates) - 1 if is_trained else 0
        return self.options.seeds * reading + runs * self._training_seconds()

    def _disk_bytes(self, image: SeenImage) -> float:
        num_images = sum(len(self.source.annotations[side]) for side in SIDES)
        names = ('scores', *self.inputs)
        files = self.options.seeds + self.is_frozen
        return files * num_images * image.count_bytes(names, len(self.source.classes))

    def plan(self, costs: Costs) -> Plan:
        """Plan all runs, cut to the hours that there are."""
        whole = make_plan(self.methods, self.options.seeds)
        if self.options.hours is None:
            return whole
        keep = self.methods[0].name if self.is_frozen else ''
        return fit_plan(whole, costs, self._workers, self.options.hours, keep)

    @property
    def cnn_rates(self) -> tuple[float, ...]:
        """Learning rates of the CNN that are searched."""
        said = self.cnn_config.get('benchmark') or {}
        return tuple((said.get('search') or {}).get(LEARNING_RATE, CNN_RATES))

    # --- what is run ---

    def run(self) -> Path:
        """Do what is left to do, and write the page.

        Returns:
            The page.
        """
        costs = self.probe()
        plan = self.plan(costs)
        print(self._describe(plan, costs), flush=True)
        self.out.mkdir(parents=True, exist_ok=True)
        hours = self.options.hours
        stages = Stages(
            plan.total_runs(),
            estimate_seconds(plan, costs, 1),
            self.options.workers,
            self.out / 'runs.log',
            None if hours is None else time.time() + 3600 * hours,
        )
        with self._clock(), stages, suppress(OutOfTimeError):
            self._run_all(plan, costs, stages)
        for title, error in stages.failed.items():
            print(f'Failed: {title}: {error}')
        return self.write_page()

    def describe_plan(self) -> str:
        """Say what would be run, how long it takes and what it needs of the disk."""
        costs = self.probe()
        return self._describe(self.plan(costs), costs)

    def _describe(self, plan: Plan, costs: Costs) -> str:
        return '\n'.join([describe_plan(plan, costs, self._workers), *self.notes])

    @property
    def _workers(self) -> int:
        """How many runs go on at a time."""
        return max(1, self.options.workers)

    def _run_all(self, plan: Plan, costs: Costs, stages: Stages) -> None:
        first = [method for method in plan.methods if self.is_frozen and method.name == LINEAR]
        self._prepare_inputs(stages)
        self._run_methods(plan, first, costs, stages)
        self._replace_scores(plan, first)
        others = [method for method in plan.methods if method not in first]
        others.sort(key=lambda method: costs.runs[method.name])  # when time is up, these are done
        self._run_methods(plan, others, costs, stages)

    def _prepare_inputs(self, stages: Stages) -> None:
        """Make the cached files: of the frozen CNN, or of the CNN of every seed."""
        if self.is_frozen:
            with DefaultScope.overwrite_default_scope('mmpretrain'):
                checkpoint = make_frozen(self.cnn_config, self.out / 'cnn' / FROZEN)
            cache_inputs(self.cnn_config, checkpoint, self._inputs(FROZEN), self.inputs)
            return

        cnn, seeds = self.options.cnn, range(self.options.seeds)
        trainings: list[Path | Training]
        if cnn.kind == GIVEN:
            trainings = [cnn.checkpoint_of(seed) for seed in seeds]
        else:
            lr = self._find_rate(stages)
            trainings = [self._training(lr, seed) for seed in seeds]
        sides = SIDES if self.has_cached_methods else SIDES[1:]
        tasks = [
            Task(
                f'CNN, seed {seed}',
                prepare_seed,
                (self.cnn_config, training, self._inputs(seed), self.inputs, sides),
            )
            for seed, training in enumerate(trainings)
        ]
        self._use_the_cnn(tasks, stages)
        for seed in seeds:
            self._save_cnn(seed)

    def _find_rate(self, stages: Stages) -> float:
        """Search the CNN's learning rate on the first seed."""
        trials = {lr: self._training(lr, 0) for lr in self.cnn_rates}
        tasks = [
            Task(f'CNN, lr {lr:g}', trial.run, (self.cnn_config,)) for lr, trial in trials.items()
        ]
        self._use_the_cnn(tasks, stages)
        return choose_rate({lr: trial.folder for lr, trial in trials.items()})

    def _training(self, lr: float, seed: int) -> Training:
        return Training(self.out / 'cnn' / f'lr_{lr:g}' / f'seed_{seed}', lr, seed)

    def _use_the_cnn(self, tasks: Sequence[Task], stages: Stages) -> None:
        """Do what runs the CNN on images: side by side beside a GPU, else one on all cores."""
        if torch.cuda.is_available():
            stages.do_more(tasks)
            return
        for task in tasks:
            task.function(*task.arguments)

    def _inputs(self, seed: int | str) -> Path:
        name = seed if isinstance(seed, str) else f'seed_{seed}'
        return self.out / ('inputs' if self.has_cached_methods else 'scores') / name

    def _save_cnn(self, seed: int) -> None:
        """Keep the CNN's own predictions as a method among the others."""
        sides: dict[str, Any] = {}
        for side in ('val', 'test'):
            file = load_scores(self._inputs(seed) / f'scores_{side}.safetensors')
            sides[side] = Side(file.annotations.targets(), file.scores > 0.5, file.scores)
        origin = read_record(self._inputs(seed))['cnn_sha256']
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

    def _replace_scores(self, plan: Plan, linear: Sequence[Method]) -> None:
        """Put the scores of the linear classifiers into files of each seed."""
        for method in linear:
            first = self._search(plan, method).best()
            others = [self._final_cell(plan, method, seed) for seed in range(1, plan.most_seeds)]
            for cell in filter(is_done, [first, *others]):
                assert isinstance(cell, Cell)  # on cached features
                replace_scores(
                    self._inputs(FROZEN),
                    partial(linear_logits, cell),
                    self._inputs(cell.seed),
                    sha256(cell.folder / WEIGHTS),
                )

    def _run_methods(
        self, plan: Plan, methods: Sequence[Method], costs: Costs, stages: Stages
    ) -> None:
        """Search every method on the first seed, then run the others."""
        try:
            for depth in range(1 + MAX_OWN):
                searches = [self._search(plan, method) for method in methods]
                deep = [search for search in searches if depth < search.depth]
                cells = [cell for search in deep for cell in search.trials(depth)]
                stages.do([self._task(cell, costs) for cell in cells])
        finally:
            for method in methods:
                self._keep_best(plan, method)

        searched = [method for method in methods if self._search(plan, method).done()]
        repeated = [method for method in searched if self._draws_nothing(method)]
        for method in repeated:
            self.repeat(plan, method)
        cells = [
            self._final_cell(plan, method, seed)
            for seed in range(1, plan.most_seeds)
            for method in searched
            if method not in repeated and seed < plan.seeds[method.name]
        ]
        stages.do([self._task(cell, costs) for cell in cells])

    def _draws_nothing(self, method: Method) -> bool:
        """Tell whether a method gives the same for every seed: fitted at once, on a frozen CNN."""
        is_fitted = read_own_config(str(method.config), None).train_cfg.get('type') is not None
        return self.is_frozen and is_fitted and 'scores' not in self._inputs_of(method)

    def repeat(self, plan: Plan, method: Method) -> None:
        """Keep the run of the first seed as that of the others, which would be the same."""
        folder = self.out / 'runs' / method.name
        first = load_result(folder / 'seed_0')
        for seed in range(1, plan.seeds[method.name]):
            save_result(folder / f'seed_{seed}', replace(first, seed=seed, trials=[]))

    def _task(self, cell: Run, costs: Costs) -> Task:
        title = ', '.join(
            [cell.method.name, f'seed {cell.seed}', *describe_settings(cell.settings)]
        )
        function = run_joint if cell.method.is_joint else run_cell
        return Task(title, function, (cell,), costs.runs[cell.method.name])

    def _cell(self, method: Method, seed: int, settings: Mapping[str, Any], folder: Path) -> Run:
        if method.is_joint:
            shapes = self.image.shapes(len(self.source.classes))
            return JointRun(method, seed, settings, folder, self.cnn_config, shapes, self.topk)
        is_linear = self.is_frozen and method.name == LINEAR
        return Cell(
            method,
            seed,
            settings,
            folder,
            self._inputs(FROZEN if is_linear else seed),
            topk=self.topk,
            max_epochs=self.options.max_epochs,
            keep_weights=is_linear,
        )

    def _search(self, plan: Plan, method: Method) -> Search:
        """Return the search of a method, on the first seed."""
        folder = self.out / 'search' / method.name
        make = lambda settings: self._cell(method, 0, settings, name_settings(settings, folder))
        return Search(method.name, plan.searches(method), make)

    def _keep_best(self, plan: Plan, method: Method) -> None:
        """Make the best trial the run of the first seed, with all that was tried beside it."""
        search = self._search(plan, method)
        if not search.done():
            return
        best = search.best()
        result = replace(
            load_result(best.folder),
            settings=shorten_keys(best.settings),
            trials=search.describe(),
        )
        save_result(self.out / 'runs' / method.name / 'seed_0', result)

    def _final_cell(self, plan: Plan, method: Method, seed: int) -> Run:
        settings = self._search(plan, method).best().settings
        folder = self.out / 'runs' / method.name / f'seed_{seed}'
        return self._cell(method, seed, settings, folder)

    @contextmanager
    def _clock(self) -> Iterator[None]:
        """Count the seconds of all attempts."""
        path, start = self.out / CLOCK, time.monotonic()
        before = read_json(path) if path.is_file() else 0.0
        try:
            yield
        finally:
            write_json(path, before + time.monotonic() - start)

    # --- the page ---

    def write_page(self) -> Path:
        """Write the page from what was run, and return it."""
        folder = self.options.page or self.out / 'page'
        save_info(self.out / 'runs', self.describe())
        write_page(self.out / 'runs', folder, self.options.resamples)
        return folder / PAGE

    def describe(self) -> BenchmarkInfo:
        """Return what all runs share."""
        train = self.source.annotations['train']
        clock = self.out / CLOCK
        return BenchmarkInfo(
            title=self.source.title,
            classes=self.source.classes,
            training_counts=train.label_counts().tolist(),
            num_training=len(train),
            groups=self._list_groups(),
            topk=self.topk,
            order=[self.reference, *(method.name for method in self.methods)],
            command=self.options.command,
            minutes=read_json(clock) / 60 if clock.is_file() else 0.0,
        )

    def _list_groups(self) -> list[Group]:
        """List the tables: all methods, sequences, and methods of several views."""
        groups = [Group('methods', 'The methods', self.reference, note=self._note_on_passes())]
        sequences = [method.name for method in self.methods if 'sequences' in method.groups]
        if sequences and self._has_runs(MULTI_ORDER):
            title = 'Sequences, against the Multi-order RNN'
            groups.append(Group('sequences', title, MULTI_ORDER, sequences))

        controls = {method.views: method.control for method in self.methods if method.control}
        return groups + [
            self._group_of_views(views, control)
            for views, control in sorted(controls.items())
            if self._has_runs(control)
        ]

    def _has_runs(self, name: str) -> bool:
        return (self.out / 'runs' / name).is_dir()

    def _note_on_passes(self) -> str:
        """Say what the methods that train the CNN have in common, where there are some."""
        if not any(method.is_joint for method in self.methods):
            return ''
        epochs = self.cnn_config.train_cfg.max_epochs
        return (
            f'Rows that see *joint* train the CNN itself, the CNN alone among them: from the same '
            f'ImageNet weights, by the same schedule, {epochs} epochs of one view of an image, '
            f'which are {epochs} passes an image for each of them.'
        )

    def _group_of_views(self, views: int, control: str) -> Group:
        """Return the table of methods of several views, beside their control and the CNN."""
        epochs = self.cnn_config.train_cfg.max_epochs
        note = (
            f'Each step sees {views} views of an image: {epochs} epochs are {views * epochs} '
            f'passes an image, for the control as well, with which the others are compared. The '
            f'CNN has {epochs} passes: against it the control shows what more views bring.'
        )
        title = f'{views} views of an image'
        return Group(name_table(views), title, control, [self.reference], note)
