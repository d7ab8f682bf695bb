"""How the threads of a computation wait for one another.

OpenMP reads it once, when torch is imported. Needs the standard library alone.
"""

import os
from collections.abc import MutableMapping

POLICY = 'OMP_WAIT_POLICY'
OTHERS = ('GOMP_SPINCOUNT', 'KMP_BLOCKTIME')  # of GNU's and Intel's OpenMP, which say it otherwise


def let_threads_sleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads that wait give their core away, unless the environment says how they wait.

    By default they spin for milliseconds. On a machine that has other things to do, the thread that
    they wait for then finds no core: a step takes ten times as long (configs/morn/SPEED.md).

    Args:
        environment: Is changed; that of this process and of those that it starts.

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
