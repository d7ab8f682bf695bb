"""Runs a whole benchmark: plan, CNN, searches, seeds, page. Finished steps are skipped."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS

from ...apis.finding import read_own_config
from ...utils.files import sha256
from ...utils.strict_json import read_json, write_json
from ..page import PAGE, write_page
from ..results import BenchmarkInfo, load_result, save_info, save_result
from .cell import WEIGHTS, Cell, Run, linear_logits, run_cell
from .cnn import FINETUNED, FROZEN, Cnn, complete_config, find_rates, replace_scores
from .groups import list_groups
from .inputs import CNN, CachedFiles
from .joint import JointRun, run_joint
from .methods import (
    LINEAR,
    Method,
    add_controls,
    find_methods,
    search_as_the_cnn,
)
from .plan import Costs, Plan, describe_plan, estimate_seconds, fit_plan, make_plan
from .probing import (
    SeenImage,
    estimate_training,
    probe_all,
    probe_cnn,
    probe_joint,
    probe_method,
)
from .records import RECORD, read_record
from .search import Search, describe_settings, is_done, name_settings, shorten_keys
from .source import SIDES, Source
from .stages import OutOfTimeError, Stages, Task

CLOCK = 'seconds.json'


@dataclass(frozen=True)
class Options:
    """The options of a benchmark.

    Attributes:
        out: Output folder; a benchmark that was begun there continues.
        cnn: The CNN whose outputs the methods use.
        seeds: Number of seeds of every method.
        hours: The plan is cut to this time, and no run starts after it. None: no limit.
        max_epochs: Maximum number of epochs of any method.
        workers: Number of parallel runs; 0 to run in this process.
        topk: k of exactly k labels. None: the mean number of labels of the training images.
        command: The command that the page shows.
        page: Folder of the page. None: ``page`` in ``out``.
        resamples: Number of bootstrap resamples of the test images.
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
        methods: The methods to compare.
        options: The options.
    """

    def __init__(self, source: Source, methods: Sequence[Method], options: Options) -> None:
        self.source, self.options, self.out = source, options, options.out
        self.topk = options.topk or source.mean_labels()
        self.cnn_config: Config = complete_config(options.cnn, source)
        self.is_frozen = options.cnn.kind == FROZEN
        self.reference = LINEAR if self.is_frozen else CNN
        #: Remarks for the plan on methods that are not run.
        self.notes: list[str] = []
        methods = self._without_what_trains(add_controls(methods))
        rates = find_rates(self.cnn_config)
        self.methods = self._with_linear([search_as_the_cnn(method, rates) for method in methods])

    def _without_what_trains(self, methods: Sequence[Method]) -> list[Method]:
        """Leave out the methods that train the CNN if it stays frozen."""
        if not self.is_frozen:
            return list(methods)
        joint = [method.name for method in methods if method.is_joint]
        if joint:
            self.notes.append(f'Left out: {", ".join(joint)} train the CNN, which stays frozen.')
        return [method for method in methods if not method.is_joint]

    def _with_linear(self, methods: Sequence[Method]) -> tuple[Method, ...]:
        """Put the linear classifier first; it takes the place of a frozen CNN."""
        others = [method for method in methods if method.name != LINEAR]
        if len(others) == len(methods) and not self.is_frozen:
            return tuple(others)
        (linear,) = (method for method in find_methods() if method.name == LINEAR)
        return (linear, *others)

    @cached_property
    def inputs(self) -> tuple[str, ...] | None:
        """Contents of cached files besides scores, for all methods; None if no method needs any."""
        cached = [method for method in self.methods if not method.is_joint]
        if not cached:
            return None
        found = {'features'}.union(*map(self._inputs_of, cached))
        return tuple(sorted(found - {'scores'}))

    @property
    def files(self) -> CachedFiles:
        """The cached files of every seed."""
        options = self.options
        return CachedFiles(self.out, options.cnn, self.cnn_config, options.seeds, self.inputs)

    def _inputs_of(self, method: Method) -> tuple[str, ...]:
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            head = MODELS.build(read_own_config(str(method.config), None).model.head)
        return head.inputs

    @cached_property
    def image(self) -> SeenImage:
        """The time and the output sizes of the CNN for an image."""
        return probe_cnn(self.cnn_config)

    # --- the plan ---

    def probe(self) -> Costs:
        """Time the CNN and every method; measured times of finished runs take precedence."""
        self._leave_out_what_lacks_stages(self.image)
        runs = {method.name: self._measured(method) for method in self.methods}
        others = [method for method in self.methods if not runs[method.name]]
        seconds = probe_all(list(map(self._probe_of, others)), self.options.workers)
        runs |= {method.name: found for method, found in zip(others, seconds, strict=True)}
        return Costs(runs, self._cnn_seconds(self.image), self._disk_bytes(self.image))

    def _probe_of(self, method: Method) -> Callable[[], float]:
        """Return what estimates the seconds of one run of a method."""
        train = self.source.annotations['train']
        if method.is_joint:
            run = self._cell(method, 0, {}, self.out)
            assert isinstance(run, JointRun)
            num_val = len(self.source.annotations['val'])
            return partial(probe_joint, run, self.image, train, num_val)
        return partial(probe_method, method, self.image, train, self.options.max_epochs)

    def _training_seconds(self) -> float:
        """Estimate the seconds of training the CNN once."""
        sizes = {side: len(self.source.annotations[side]) for side in SIDES}
        return estimate_training(self.image, sizes, self.cnn_config.train_cfg.max_epochs)

    def _leave_out_what_lacks_stages(self, image: SeenImage) -> None:
        """Leave out methods of several stages if the CNN returns only one."""
        if len(image.stages) > 1:
            return
        lacking = [method for method in self.methods if 'stage_maps' in self._inputs_of(method)]
        for method in lacking:
            print(f'{method.name} is left out: it needs several stages, but the CNN gives one.')
        self.methods = tuple(method for method in self.methods if method not in lacking)
        self.__dict__.pop('inputs', None)

    def _measured(self, method: Method) -> float:
        """Return the mean seconds of a method's finished runs; 0 without any."""
        paths = [*self.out.glob(f'*/{method.name}/**/{RECORD}')]
        seconds = [read_record(path.parent)['seconds'] for path in paths]
        return sum(seconds) / len(seconds) if seconds else 0.0

    def _cnn_seconds(self, image: SeenImage) -> float:
        """Estimate the remaining seconds of training the CNN and running it on images."""
        if (self.files.of(FROZEN if self.is_frozen else self.options.seeds - 1) / RECORD).is_file():
            return 0.0
        reading = sum(map(len, self.source.annotations.values())) * image.seconds
        if self.is_frozen:
            return reading
        is_trained = self.options.cnn.kind == FINETUNED
        runs = self.options.seeds + len(find_rates(self.cnn_config)) - 1 if is_trained else 0
        return self.options.seeds * reading + runs * self._training_seconds()

    def _disk_bytes(self, image: SeenImage) -> float:
        num_images = sum(len(self.source.annotations[side]) for side in SIDES)
        names = ('scores', *(self.inputs or ()))
        files = self.options.seeds + self.is_frozen
        return files * num_images * image.count_bytes(names, len(self.source.classes))

    def plan(self, costs: Costs) -> Plan:
        """Plan all runs, cut to the available hours."""
        whole = make_plan(self.methods, self.options.seeds)
        if self.options.hours is None:
            return whole
        keep = self.methods[0].name if self.is_frozen else ''
        return fit_plan(whole, costs, self._workers, self.options.hours, keep)

    # --- the runs ---

    def run(self) -> Path:
        """Run the unfinished steps, and write the page.

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
        """Describe the planned runs, their time and the disk space they need."""
        costs = self.probe()
        return self._describe(self.plan(costs), costs)

    def _describe(self, plan: Plan, costs: Costs) -> str:
        return '\n'.join([describe_plan(plan, costs, self._workers), *self.notes])

    @property
    def _workers(self) -> int:
        """Return the number of parallel runs."""
        return max(1, self.options.workers)

    def _run_all(self, plan: Plan, costs: Costs, stages: Stages) -> None:
        first = [method for method in plan.methods if self.is_frozen and method.name == LINEAR]
        self.files.make(stages)
        self._run_methods(plan, first, costs, stages)
        self._replace_scores(plan, first)
        others = [method for method in plan.methods if method not in first]
        others.sort(key=lambda method: costs.runs[method.name])  # cheap ones first: time may end
        self._run_methods(plan, others, costs, stages)

    def _replace_scores(self, plan: Plan, linear: Sequence[Method]) -> None:
        """Write the scores of the linear classifiers into the files of each seed."""
        for method in linear:
            first = self._search(plan, method).best()
            others = [self._final_cell(plan, method, seed) for seed in range(1, plan.most_seeds)]
            for cell in filter(is_done, [first, *others]):
                assert isinstance(cell, Cell)  # on cached features
                replace_scores(
                    self.files.of(FROZEN),
                    partial(linear_logits, cell),
                    self.files.of(cell.seed),
                    sha256(cell.folder / WEIGHTS),
                )

    def _run_methods(
        self, plan: Plan, methods: Sequence[Method], costs: Costs, stages: Stages
    ) -> None:
        """Search every method's settings on the first seed, then run the other seeds."""
        try:
            stages.do_chains([self._tasks_of(plan, method, costs) for method in methods])
        finally:
            for method in methods:
                self._keep_best(plan, method)

    def _tasks_of(self, plan: Plan, method: Method, costs: Costs) -> Iterator[list[Task]]:
        """Yield the searches of a method one after the other, then its other seeds."""
        search = self._search(plan, method)
        for depth in range(search.depth):
            yield [self._task(cell, costs) for cell in search.trials(depth)]

        if not search.done():
            return
        self._keep_best(plan, method)
        if self._draws_nothing(method):
            self.repeat(plan, method)
            return
        seeds = range(1, plan.seeds[method.name])
        yield [self._task(self._final_cell(plan, method, seed), costs) for seed in seeds]

    def _draws_nothing(self, method: Method) -> bool:
        """Return whether a method is the same for every seed: fitted at once, on a frozen CNN."""
        is_fitted = read_own_config(str(method.config), None).train_cfg.get('type') is not None
        return self.is_frozen and is_fitted and 'scores' not in self._inputs_of(method)

    def repeat(self, plan: Plan, method: Method) -> None:
        """Copy the run of the first seed to the other seeds, which would give the same."""
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
            self.files.of(FROZEN if is_linear else seed),
            topk=self.topk,
            max_epochs=self.options.max_epochs,
            keep_weights=is_linear,
        )

    def _search(self, plan: Plan, method: Method) -> Search:
        """Return the search of a method on the first seed."""
        folder = self.out / 'search' / method.name
        make = lambda settings: self._cell(method, 0, settings, name_settings(settings, folder))
        return Search(method.name, plan.searches(method), make)

    def _keep_best(self, plan: Plan, method: Method) -> None:
        """Make the best trial the run of the first seed, and store all trials with it."""
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
        """Write the page from the finished runs, and return its path."""
        folder = self.options.page or self.out / 'page'
        save_info(self.out / 'runs', self.describe())
        write_page(self.out / 'runs', folder, self.options.resamples)
        return folder / PAGE

    def describe(self) -> BenchmarkInfo:
        """Return the information that all runs share."""
        train = self.source.annotations['train']
        clock = self.out / CLOCK
        return BenchmarkInfo(
            title=self.source.title,
            classes=self.source.classes,
            training_counts=train.label_counts().tolist(),
            num_training=len(train),
            groups=list_groups(
                self.methods,
                self.reference,
                self.cnn_config.train_cfg.max_epochs,
                lambda name: (self.out / 'runs' / name).is_dir(),
            ),
            topk=self.topk,
            order=[self.reference, *(method.name for method in self.methods)],
            command=self.options.command,
            minutes=read_json(clock) / 60 if clock.is_file() else 0.0,
        )
