"""Plans the runs of a benchmark, estimates their time, and cuts the plan if time is short.

Nothing here trains, reads a file or looks at the clock.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from .methods import JOINT, LEARNING_RATE, Method, list_searches

#: Number of seeds of methods with expensive runs.
MAP_SEEDS = 3
EXPENSIVE = ('maps', JOINT)
#: Number of seeds that the first cut leaves.
FEW_SEEDS = 3
#: The cuts of `--hours`, in this order.
CUTS = (
    f'seeds down to {FEW_SEEDS}, the most expensive method first',
    "the methods' own settings, which stay as their configs have them",
    'methods, the most expensive first',
    'seeds down to 1',
)


@dataclass(frozen=True)
class Costs:
    """Costs measured by a timed probe or by finished runs, in seconds of one process.

    Attributes:
        runs: Method to the seconds of one run.
        cnn: Seconds of all steps that read images.
        bytes: Bytes of all cached files together.
    """

    runs: Mapping[str, float]
    cnn: float = 0.0
    bytes: float = 0.0


@dataclass(frozen=True)
class Plan:
    """The runs of a benchmark.

    Attributes:
        methods: The methods to run.
        seeds: Method to the number of its seeds.
        searches_own: Whether the methods' own settings are searched as well as the learning rate.
        cut: What was left out to save time, in words.
    """

    methods: tuple[Method, ...]
    seeds: Mapping[str, int]
    searches_own: bool = True
    cut: tuple[str, ...] = field(default=())

    @property
    def most_seeds(self) -> int:
        """The highest number of seeds of any method."""
        return max(self.seeds.values(), default=0)

    def searches(self, method: Method) -> list[tuple[str, tuple]]:
        """Return the searched settings of a method, and their values."""
        found = list_searches(method)
        return [item for item in found if self.searches_own or item[0] == LEARNING_RATE]

    def count_trials(self, method: Method) -> int:
        """Count the runs of a method's search; one without a search."""
        return max(1, sum(len(values) for _, values in self.searches(method)))

    def count_runs(self, method: Method) -> int:
        """Count the runs of a method; the best trial serves as the run of the first seed."""
        return self.count_trials(method) + self.seeds[method.name] - 1

    def total_runs(self) -> int:
        """Count all runs."""
        return sum(map(self.count_runs, self.methods))


def make_plan(methods: tuple[Method, ...], num_seeds: int) -> Plan:
    """Plan all methods with all seeds; methods on maps and those that train the CNN get three."""
    seeds = {
        method.name: min(num_seeds, MAP_SEEDS) if method.tier in EXPENSIVE else num_seeds
        for method in methods
    }
    return Plan(methods, seeds)


def estimate_seconds(plan: Plan, costs: Costs, workers: int) -> float:
    """Estimate how long a plan takes with parallel runs."""
    runs = sum(plan.count_runs(method) * costs.runs[method.name] for method in plan.methods)
    return costs.cnn + runs / workers


def fit_plan(plan: Plan, costs: Costs, workers: int, hours: float, keep: str) -> Plan:
    """Cut a plan, in the order of ``CUTS``, until it fits into a given time.

    Args:
        plan: The whole plan.
        costs: The costs of its runs.
        workers: Number of parallel runs.
        hours: The available time.
        keep: The method that is never dropped, because the others are compared with it.

    Returns:
        The first plan that fits; the smallest if none does.
    """
    shorter = plan
    for shorter in _shorten(plan, costs, keep):
        if estimate_seconds(shorter, costs, workers) <= 3600 * hours:
            break
    return shorter


def _shorten(plan: Plan, costs: Costs, keep: str) -> Iterator[Plan]:
    """Yield shorter and shorter plans, the whole one first."""
    yield plan
    by_cost = sorted(plan.methods, key=lambda method: -costs.runs[method.name])

    for method in by_cost:
        plan = _limit_seeds(plan, method, FEW_SEEDS)
        yield plan

    if any(len(list_searches(method)) > 1 for method in plan.methods):
        plan = replace(plan, searches_own=False, cut=(*plan.cut, 'own settings: not searched'))
        yield plan

    for method in [method for method in by_cost if method.name != keep]:
        plan = _drop(plan, method)
        yield plan

    for seeds in range(FEW_SEEDS - 1, 0, -1):
        for method in plan.methods:
            plan = _limit_seeds(plan, method, seeds)
        yield plan


def _drop(plan: Plan, method: Method) -> Plan:
    """Leave out a method, and the methods that have it as their control."""
    dropped = [other for other in plan.methods if other is method or other.control == method.name]
    others = tuple(other for other in plan.methods if other not in dropped)
    notes = [f'{other.name}: not run' for other in dropped]
    return replace(plan, methods=others, cut=(*plan.cut, *notes))


def _limit_seeds(plan: Plan, method: Method, most: int) -> Plan:
    seeds = plan.seeds[method.name]
    if seeds <= most:
        return plan
    note = f'{method.name}: {most} seeds in place of {seeds}'
    return replace(plan, seeds={**plan.seeds, method.name: most}, cut=(*plan.cut, note))


def describe_plan(plan: Plan, costs: Costs, workers: int) -> str:
    """Describe the planned runs, their time and the disk space they need."""
    width = max((len(method.name) for method in plan.methods), default=0)
    lines = [
        f'  {method.name:{width}}  {method.tier:8}  {plan.count_trials(method)} trials, '
        f'{plan.seeds[method.name]} seeds, {costs.runs[method.name]:6.0f} s a run'
        for method in plan.methods
    ]
    minutes = math.ceil(estimate_seconds(plan, costs, workers) / 60)
    total = (
        f'{plan.total_runs()} runs, {workers} at a time: about {minutes} min, of which '
        f'{costs.cnn / 60:.0f} min read images; {costs.bytes / 1e9:.1f} GB of cached files.'
    )
    cut = [f'Left out for want of time: {"; ".join(plan.cut)}.'] if plan.cut else []
    return '\n'.join([*lines, total, *cut])
