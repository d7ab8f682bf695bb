"""Sets how the threads of a computation wait for each other.

OpenMP reads the setting once, when torch is imported. Needs only the standard library.
"""

import os
from collections.abc import MutableMapping

POLICY = 'OMP_WAIT_POLICY'
# of GNU's and Intel's OpenMP, with their own variables
OTHERS = (
    'GOMP_SPINCOUNT',
    'KMP_BLOCKTIME',
)


def let_threads_sleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let waiting threads sleep, unless the environment sets how they wait.

    By default they spin for milliseconds. On a busy machine, the thread that they wait for then
    finds no core, and a step takes ten times as long (docs/speed.md).

    Args:
        environment: The environment to change, that of this process and its child processes.

    Examples:
        >>> settings = {}
        >>> let_threads_sleep(settings)
        >>> settings
        {'OMP_WAIT_POLICY': 'passive'}
        >>> settings = {'OMP_WAIT_POLICY': 'active'}
        >>> let_threads_sleep(settings)
        >>> settings
        {'OMP_WAIT_POLICY': 'active'}
    """
    if not any(name in environment for name in (POLICY, *OTHERS)):
        environment[POLICY] = 'passive'
