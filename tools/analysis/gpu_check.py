"""Check the guarantees and measure the speed on a GPU, in one command and a few minutes.

Looks for waits of the host in the step, times the step eager, as a CUDA graph and compiled beside
plain PyTorch's LSTMCell and cuDNN's LSTM, trains in half precision, measures both stages of
training a ResNet-101 at 448 pixels, and compares exported models and resumed runs. Writes
gpu_check.md and gpu_check.json after each check. On a CPU it runs the checks that need no GPU.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from morn_plugin.utils.checks import at_least

if TYPE_CHECKING:
    from morn_plugin.speed.checks import Result

# By name: the module and the function. In this order, so that what matters most comes first.
CHECKS = {
    'waits': ('gpu_decoder', 'check_waits'),
    'graph': ('gpu_decoder', 'check_graph'),
    'amp': ('gpu_decoder', 'check_half_precision'),
    'two-stages': ('gpu_cnn', 'check_two_stages'),
    'steps': ('gpu_decoder', 'check_steps'),
    'resume': ('gpu_runs', 'check_resume'),
    'export': ('gpu_cnn', 'check_export'),
    'onnx': ('gpu_cnn', 'check_onnx'),
    'compile': ('gpu_decoder', 'check_compile'),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--only', nargs='+', choices=list(CHECKS), metavar='CHECK', help=', '.join(CHECKS)
    )
    parser.add_argument(
        '--minutes', type=float, default=8, help='start no check after this time (default: 8)'
    )
    parser.add_argument('--device', help='cuda or cpu (default: cuda if available)')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/gpu_check'), help='folder of the report'
    )
    parser.add_argument('--rounds', type=at_least(1), default=3, help='turns (default: 3)')
    parser.add_argument(
        '--small', action='store_true', help='tiny sizes, only to check that it runs'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Deterministic products need it, before CUDA starts.
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    import torch

    from morn_plugin.speed.checks import (
        find_checks,
        make_settings,
        run_checks,
        to_markdown,
        write_report,
    )
    from morn_plugin.speed.machine import describe_machine

    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    settings = make_settings(device, args.rounds, args.small)
    machine = describe_machine(device)
    print(machine, flush=True)

    def report(results: 'Sequence[Result]') -> None:
        latest = results[-1]
        print(f'{latest.name}: {latest.status} ({latest.seconds:.0f} s)', flush=True)
        write_report(args.out, machine, results)

    chosen = {name: CHECKS[name] for name in CHECKS if not args.only or name in args.only}
    results = run_checks(find_checks(chosen), settings, args.minutes, report)
    print(to_markdown(machine, results))
    if any(result.is_bad for result in results):
        sys.exit(1)


if __name__ == '__main__':
    main()
