"""Estimate compute, memory and traffic on paper, from counted operations and bytes.

Runs on a CPU, times nothing.

A multiply-add counts as two operations. A backward pass is taken as twice its forward pass. Times
are operations over what a device sustains and bytes over what a link sustains, both given as
options, not measured.
"""

import argparse

from morn_plugin.utils.layout import find_config_file, find_root

CONFIG = find_root() / 'configs/morn/morn_resnet101_1xb32-50e_coco-448px.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'config',
        nargs='?',
        default=str(CONFIG),
        type=find_config_file,
        help='a second-stage config',
    )
    parser.add_argument('--size', type=int, default=448, help='pixels a side')
    parser.add_argument(
        '--images', type=int, default=82_783, help='of an epoch (default: MS-COCO 2014, train)'
    )
    parser.add_argument('--batch', type=int, default=32, help='images a GPU and step')
    parser.add_argument('--gpus', type=int, nargs='+', default=[1, 8, 64])
    parser.add_argument('--labels', type=int, nargs='+', default=[80, 10_000, 100_000])
    parser.add_argument(
        '--tflops', type=float, default=50, help='1e12 operations a second that one GPU sustains'
    )
    parser.add_argument(
        '--inside', type=float, default=100, help='GB a second between GPUs of one machine'
    )
    parser.add_argument(
        '--between', type=float, default=10, help='GB a second between machines, for each GPU'
    )
    parser.add_argument('--per-node', type=int, default=8, help='GPUs in a machine')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from scaling import print_estimate

    print_estimate(args)


if __name__ == '__main__':
    main()
