"""Faster prediction on a CPU: many images go through the network in ONNX Runtime.

Its convolutions are faster than PyTorch's, but to export a network and to start a session takes
about a second. So only a network that has seen some hundred images is worth it.
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

from .folding import InParts
from .shifted_windows import number_from_shapes

AFTER = 500  # images of one size
LARGEST = 2**28  # weights: a session takes several times their memory, and ONNX no more than 2 GB
EXAMPLES = 2  # images that the network is exported with
NEEDED = ('onnx', 'onnxruntime')
FATAL = 4  # of onnxruntime's log
Agree = Callable[[Tensor, Any, Any], bool]


class OnnxLater(nn.Module):
    """Runs a network in PyTorch and, after ``AFTER`` images of one size, in ONNX Runtime.

    From which image on depends only on the images, not on the time that either takes, so two runs
    have the same results. PyTorch stays if onnx or onnxruntime is missing, if the network is very
    large or cannot be exported, if the two disagree, and under
    ``torch.use_deterministic_algorithms``.

    Args:
        network: Maps images (N, channels, H, W) to a tensor or nested tuples of tensors, in
            evaluation mode; this is what is exported.
        faster: The form of it that runs in PyTorch.
        agree: Whether two outputs for the same images are equal, up to rounding.
    """

    def __init__(self, network: nn.Module, faster: nn.Module, agree: Agree) -> None:
        super().__init__()
        self.network = network
        self.faster = faster
        self._agree = agree
        self._size: torch.Size | None = None
        self._seen = 0
        #: The size of images and the network for it: one value, since a server has several threads.
        self._found: tuple[torch.Size, nn.Module] | None = None

    def forward(self, images: Tensor) -> Any:
        """Return the network's outputs for the images."""
        size, found = images.shape[1:], self._found
        if found is not None and found[0] == size:
            return found[1](images)

        outputs = self.faster(images)
        before = self._seen if size == self._size else 0
        self._size, self._seen = size, before + len(images)
        if before < AFTER <= self._seen:
            self._found = self._start(images, outputs)
        return outputs

    def _start(self, images: Tensor, outputs: Any) -> tuple[torch.Size, nn.Module] | None:
        """Return a network that agrees on these images, with their size, or None."""
        is_there = all(find_spec(name) for name in NEEDED)
        is_large = sum(value.numel() for value in self.network.parameters()) > LARGEST
        if not is_there or is_large or torch.are_deterministic_algorithms_enabled():
            return None

        try:
            network = OnnxNetwork(self.network, images, outputs)
            in_parts = InParts(network)
            agrees = self._agree(images, outputs, in_parts(images))
            # One image, unlike in the export: a number that is fixed would show.
            first = tree_map(lambda part: part[:1], outputs)
            if agrees and self._agree(images[:1], first, network(images[:1])):
                return images.shape[1:], in_parts
        except Exception as error:  # another author's backbone may fail in any way
            reason = f'{type(error).__name__}: {error}'
            print_log(f'The network stays in PyTorch: {reason}', 'current', 10)
        return None


class OnnxNetwork(nn.Module):
    """A network in ONNX Runtime, with as many threads as PyTorch has.

    Args:
        network: Maps images to a tensor or nested tuples of tensors, in evaluation mode.
        images: An example (N, channels, H, W); N stays free.
        outputs: The network's outputs for them.
    """

    def __init__(self, network: nn.Module, images: Tensor, outputs: Any) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = FATAL
        self._session = onnxruntime.InferenceSession(
            export_network(network, images), options, providers=['CPUExecutionProvider']
        )
        self._form: TreeSpec = tree_flatten(outputs)[1]

    def forward(self, images: Tensor) -> Any:
        """Return the network's outputs for the images (N, channels, H, W)."""
        arrays = self._session.run(None, {'images': images.contiguous().numpy()})
        return tree_unflatten([torch.from_numpy(array) for array in arrays], self._form)


def export_network(network: nn.Module, images: Tensor) -> bytes:
    """Export a network for any number of images of this size.

    The older exporter takes half a second where that of ``torch.export`` takes ten; whether it
    understood the network is seen by its results.
    """
    content = BytesIO()
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        number_from_shapes(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter('ignore')
        torch.onnx.export(
            network,
            (images.new_zeros(EXAMPLES, *images.shape[1:]),),
            content,  # type: ignore[arg-type]
            dynamo=False,
            autograd_inlining=False,
            input_names=['images'],
            dynamic_axes={'images': {0: 'number'}},
        )
    return content.getvalue()
