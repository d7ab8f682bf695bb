"""Compare the speed of the Multi-order RNN with that of another commit.

Measures the training step and ``Runner.train`` from cached scores, alternating between this
checkout and the other commit, so that both see the same machine load. Look at the ratios.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from morn_plugin.utils.checks import at_least
from morn_plugin.utils.markdown import markdown_table

ROOT = Path(__file__).resolve().parents[2]
CODE = 'from commit_timing import main; main()'
TITLES = {
    'step': 'training step with optimiser',
    'loop': 'iteration of Runner.train from cached scores',
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'commit',
        help='a commit, a branch, a tag, or the folder of a checkout to compare with',
    )
    parser.add_argument(
        '--rounds',
        type=at_least(1),
        default=5,
        help='measurements of each (default: 5)',
    )
    parser.add_argument('--threads', type=at_least(1), default=1, help='of torch (default: 1)')
    return parser.parse_args()


@contextmanager
def check_out(commit: str) -> Iterator[Path]:
    """Yield a temporary checkout of a commit; a folder is used directly."""
    if Path(commit).is_dir():
        yield Path(commit).resolve()
        return

    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / 'other'
        git = ['git', '-C', str(ROOT), 'worktree']
        subprocess.run([*git, 'add', '--quiet', '--detach', str(other), commit], check=True)

        try:
            yield other
        finally:
            subprocess.run([*git, 'remove', '--force', str(other)], check=True)


def measure(checkout: Path, threads: int) -> dict[str, float]:
    """Time step and loop of a checkout in its own process, in milliseconds.

    Raises:
        SystemExit: If the process fails; shows the end of its output.
    """
    paths = os.pathsep.join([str(checkout), str(Path(__file__).parent)])
    environment = os.environ | dict(PYTHONPATH=paths, OMP_NUM_THREADS=str(threads))
    environment['CUDA_VISIBLE_DEVICES'] = ''  # the Runner would take a GPU
    done = subprocess.run(
        [sys.executable, '-c', CODE],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f'{checkout}: the measurement failed.\n{done.stderr[-2000:]}')
    return json.loads(done.stdout.splitlines()[-1])


def print_ratios(
    here: list[dict[str, float]],
    there: list[dict[str, float]],
    commit: str,
) -> None:
    """Print the medians, and the median of the rounds' ratios, as a Markdown table."""
    rows = []
    for name, title in TITLES.items():
        mine = [round_[name] for round_ in here]
        other = [round_[name] for round_ in there]
        ratios = [a / b for a, b in zip(mine, other, strict=True)]
        spread = f'{min(ratios):.2f} to {max(ratios):.2f}'
        rows.append(
            [
                title,
                f'{statistics.median(other):.2f}',
                f'{statistics.median(mine):.2f}',
                f'{statistics.median(ratios):.2f} ({spread})',
            ]
        )

    header = ['', f'{commit}, ms', 'this checkout, ms', 'ratio (range over rounds)']
    print(markdown_table(header, rows))


def main() -> None:
    args = parse_args()
    here, there = [], []
    with check_out(args.commit) as other:
        for number in range(args.rounds):
            print(f'Round {number + 1} of {args.rounds} ...', file=sys.stderr, flush=True)
            there.append(measure(other, args.threads))
            here.append(measure(ROOT, args.threads))
    print_ratios(here, there, args.commit)


if __name__ == '__main__':
    main()
