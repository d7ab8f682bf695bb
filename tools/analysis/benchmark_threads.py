"""Measure the training step by the number of threads and by how they wait, idle and busy.

Each setting runs in its own process. The busy machine has two other processes of one core each,
which this tool starts and ends. Threads that spin (OMP_WAIT_POLICY=active) are OpenMP's default,
threads that sleep (passive) are this package's.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from morn_plugin.utils.arguments import add_busy_argument
from morn_plugin.utils.checks import at_least

POLICIES = ('active', 'passive')
STEP = """
import sys, torch
torch.set_num_threads(int(sys.argv[1]))
from morn_plugin.speed.steps import Sizes, make_ours
from morn_plugin.speed.timing import medians
print(medians(int(sys.argv[2]), step=make_ours(Sizes()).step)['step'])
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    positive = at_least(1)
    parser.add_argument(
        '--threads', type=positive, default=os.cpu_count() or 1, help='default: all cores'
    )
    parser.add_argument('--others', type=positive, default=2, help='busy processes (default: 2)')
    parser.add_argument('--rounds', type=positive, default=5, help='default: 5')
    add_busy_argument(parser)
    return parser.parse_args()


def time_step(threads: int, policy: str, rounds: int) -> float:
    """Return the milliseconds of a step, measured in its own process."""
    environment = dict(os.environ, OMP_WAIT_POLICY=policy)
    environment.pop('OMP_NUM_THREADS', None)
    command = [sys.executable, '-W', 'ignore', '-c', STEP, str(threads), str(rounds)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Keep cores busy with processes, and end them afterwards."""
    command = [sys.executable, '-c', 'while True: pass']
    processes = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    args = parse_args()
    from morn_plugin.speed.machine import start_measuring
    from morn_plugin.speed.timing import Table

    start_measuring(args.busy)

    settings = [(1, 'passive'), *((args.threads, policy) for policy in POLICIES)]
    columns = []
    for others in (0, args.others):
        with busy_processes(others):
            columns.append([time_step(*setting, args.rounds) for setting in settings])

    alone, among = columns
    rows = [
        [
            f'{threads} thread{"s" if threads > 1 else ""}, {policy}',
            f'{alone[k]:.1f}',
            f'{among[k]:.1f}',
            f'{among[k] / among[0]:.2f}',
        ]
        for k, (threads, policy) in enumerate(settings)
    ]
    head = ['', 'ms, alone', f'ms beside {args.others} others', 'against one thread there']
    print(Table('One training step by threads', head, rows).to_markdown())


if __name__ == '__main__':
    main()
