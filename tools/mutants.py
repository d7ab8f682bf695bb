"""Change one thing in the numeric modules at a time, and count the changes that tests notice.

Uses mutmut, with settings in pyproject.toml. A sample takes minutes, all changes take hours.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from morn_plugin.utils.checks import at_least

ROOT = Path(__file__).resolve().parents[1]
MUTANTS = ROOT / 'mutants'
NOTICED = ('killed', 'timeout', 'segfault', 'suspicious', 'caught by type check')
NOBODY = 'no.mutant.has.this.name'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--number',
        type=at_least(0),
        default=100,
        help='number of random changes; 0 for all (default: 100)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the draw (default: 0)')
    parser.add_argument(
        '--module',
        default='*',
        metavar='PATTERN',
        help='only modules that match, such as "*.evaluation.functional"',
    )
    parser.add_argument(
        '--least',
        type=float,
        default=95.0,
        help='fail if the tests notice fewer, in percent (default: 95)',
    )
    parser.add_argument(
        '--jobs', type=at_least(1), default=2, help='mutants tested at once (default: 2)'
    )
    return parser.parse_args()


def call_mutmut(*arguments: str, check: bool = True) -> str:
    """Run mutmut in the root of the repository, and return its output.

    Raises:
        SystemExit: If it fails, or is not installed; shows the end of its output.
    """
    command = shutil.which('mutmut', path=str(Path(sys.executable).parent)) or shutil.which(
        'mutmut'
    )
    if command is None:
        sys.exit("mutmut is not installed. It comes with an extra: pip install 'morn-plugin[test]'")
    done = subprocess.run(
        [command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        sys.exit(f'mutmut {" ".join(arguments[:3])} failed:\n{(done.stdout + done.stderr)[-4000:]}')
    return done.stdout


def list_mutants(pattern: str) -> list[str]:
    """Create all mutants, and return the names of those of some modules."""
    call_mutmut('run', NOBODY, check=False)  # makes them, then finds none of this name
    names: list[str] = []
    for path in sorted(MUTANTS.rglob('*.py.meta')):
        content = json.loads(path.read_text(encoding='utf-8'))
        names += content['exit_code_by_key']
    if not names:
        sys.exit('mutmut made no mutants: run `mutmut run` by hand to see why.')
    return [name for name in names if fnmatch(module_of(name), pattern)]


def module_of(name: str) -> str:
    """Return the module of a mutant, whose name is MODULE.FUNCTION__mutmut_NUMBER.

    Examples:
        >>> module_of('morn_plugin.evaluation.functional.x_top_one__mutmut_3')
        'morn_plugin.evaluation.functional'
    """
    return name.rsplit('.', 1)[0]


def read_verdicts(names: Sequence[str]) -> dict[str, str]:
    """Return the verdicts on mutants."""
    wanted = set(names)
    found = {}
    for line in call_mutmut('results', '--all', 'true').splitlines():
        name, _, verdict = line.strip().rpartition(': ')
        if name in wanted:
            found[name] = verdict
    return found


def main() -> None:
    args = parse_args()
    names = list_mutants(args.module)
    if not names:
        sys.exit(f'No mutant is of a module {args.module!r}; see [tool.mutmut] in pyproject.toml.')
    drawn = sorted(
        random.Random(args.seed).sample(names, min(args.number or len(names), len(names)))
    )
    print(f'{len(drawn)} of {len(names)} mutants are tried.', flush=True)
    call_mutmut('run', '--max-children', str(args.jobs), *drawn)

    verdicts = read_verdicts(drawn)
    missed = [name for name in drawn if verdicts.get(name) not in NOTICED]
    for name in missed:
        print(f'\nNot noticed ({verdicts.get(name, "not tried")}):\n{call_mutmut("show", name)}')

    modules = Counter(module_of(name) for name in drawn)
    lost = Counter(module_of(name) for name in missed)
    for module, number in sorted(modules.items()):
        print(f'{number - lost[module]:5} of {number:5}  {module}')

    share = 100 * (1 - len(missed) / len(drawn))
    print(f'The tests notice {len(drawn) - len(missed)} of {len(drawn)}: {share:.1f} %.')
    if share < args.least:
        sys.exit(f'Fewer than {args.least:g} %.')


if __name__ == '__main__':
    main()
