"""The training set as a memory: the features and labels that a method stores.

N images of the memory, Q queries, C labels, D features.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....utils.checks import check_positive
from ....utils.files import sha256
from ..base import LabelDecoder

#: A larger memory does not belong in a checkpoint: 1 GiB.
MAX_BYTES = 2**30


class NeighbourDecoder(LabelDecoder):
    """Base class of methods that predict from the training images near a query.

    Features and labels of the training set are buffers, so checkpoints contain them. From 1 GiB on,
    a file and its hash replace them: ``memory_file``.

    Args:
        num_classes: Number of labels C.
        num_neighbours: Number of nearest images, K.
        normalize: Divide features by their L2 norm first. Defaults to True.
        memory_file: The cached file of the training set, with features. Checkpoints then contain
            its hash instead of its content. Defaults to None.

    Raises:
        ValueError: If ``num_neighbours`` is not positive.
    """

    inputs: tuple[str, ...] = ('features',)
    prepares_from: tuple[str, ...] = ('features',)
    has_probability = False

    memory: Tensor
    memory_targets: Tensor
    memory_sha256: Tensor

    def __init__(
        self,
        num_classes: int,
        num_neighbours: int,
        normalize: bool = True,
        memory_file: str | None = None,
    ) -> None:
        super().__init__(num_classes)
        check_positive(num_neighbours=num_neighbours)
        self.num_neighbours = num_neighbours
        self.normalize = normalize
        self.memory_file = memory_file

        kept = memory_file is None
        self.register_buffer('memory', torch.empty(0, 0), persistent=kept)
        self.register_buffer(
            'memory_targets', torch.empty(0, num_classes, dtype=torch.int8), persistent=kept
        )
        if not kept:
            self.register_buffer('memory_sha256', torch.zeros(32, dtype=torch.uint8))

    def prepare(self, class_names: Sequence[str], targets: np.ndarray, features: Any) -> None:
        """Store the training set.

        Args:
            class_names: Names of the C labels.
            targets: (N, C) int8 in {0, 1, -1}.
            features: (N, D), a NumPy array or a tensor.

        Raises:
            ValueError: If the classes differ, there are fewer than K + 1 images, features are not
                finite, or the memory is too large for a checkpoint.
        """
        self.check_training_set(class_names, targets)
        features = torch.as_tensor(np.asarray(features))
        self._check_memory(features, len(targets))

        device = self.memory.device
        self.keep_memory(
            self._as_point(features).to(device),
            torch.from_numpy(np.asarray(targets, dtype=np.int8)).to(device),
        )
        if self.memory_file is not None:
            digest = bytes.fromhex(sha256(self.memory_file))
            self.memory_sha256 = torch.tensor(list(digest), dtype=torch.uint8, device=device)

    def keep_memory(self, memory: Tensor, targets: Tensor) -> None:
        """Store features (N, D) and labels (N, C), of a training set or of a checkpoint.

        A subclass may also store what it derives from them, so that checkpoints do not need to.
        """
        self.memory = memory
        self.memory_targets = targets

    def read_queries(self, features: Tensor) -> Tensor:
        """Check the features of a batch (Q, D), and normalise them like the memory.

        Raises:
            RuntimeError: If there is no memory yet.
            ValueError: If the features have a wrong width.
        """
        if not len(self.memory) and self.memory_file is not None:
            self._read_file()
        if not len(self.memory):
            raise RuntimeError(
                f'{type(self).__name__} has no training set yet: add PrepareDecoderHook to the '
                'hooks, load a checkpoint that contains one, or call `prepare`.'
            )
        if not self._fits():
            raise ValueError(
                f'{type(self).__name__} was built with num_classes={self.num_classes}, but its '
                f'training set has {len(self.memory)} images and labels of shape '
                f'{tuple(self.memory_targets.shape)}.'
            )

        self.check_features(features, self.memory.shape[1])
        return self._as_point(features)

    @property
    def presence(self) -> Tensor:
        """The labels of the memory (N, C): 1 where true, 0 else."""
        return (self.memory_targets > 0).to(self.memory.dtype)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if len(self.memory) and self._fits():
            self.keep_memory(self.memory, self.memory_targets)

    def _fits(self) -> bool:
        """Return whether there are labels (N, C) of the images that are kept."""
        return self.memory_targets.shape == (len(self.memory), self.num_classes)

    def _as_point(self, features: Tensor) -> Tensor:
        wide = features.to(torch.promote_types(features.dtype, torch.float32))
        return F.normalize(wide, dim=1) if self.normalize else wide

    def _check_memory(self, features: Tensor, num_images: int) -> None:
        if features.dim() != 2 or len(features) != num_images:
            raise ValueError(
                f'{type(self).__name__} expected features (N, D) of the {num_images} training '
                f'images, but got {tuple(features.shape)}.'
            )
        if not bool(features.isfinite().all()):
            row = int((~features.isfinite()).any(1).nonzero()[0])
            raise ValueError(
                f'{type(self).__name__} expected features that are finite, but those of training '
                f'image {row} are not.'
            )
        if num_images <= self.num_neighbours:
            raise ValueError(
                f'{type(self).__name__}: num_neighbours={self.num_neighbours} needs a larger '
                f'training set, but it has {num_images} images (each is left out of its own '
                'neighbours).'
            )

        size = features.numel() * 4
        if self.memory_file is None and size > MAX_BYTES:
            raise ValueError(
                f'{type(self).__name__} would put {size / 2**30:.1f} GiB of features into every '
                f'checkpoint; from {MAX_BYTES / 2**30:g} GiB on name the cached file of the '
                "training set instead: decoder=dict(memory_file='.../scores_train.safetensors')."
            )

    def _read_file(self) -> None:
        """Read the memory from the file that a checkpoint names by its hash."""
        from ....datasets.cached.file import ScoreFileError, load_scores

        assert self.memory_file is not None
        recorded = bytes(self.memory_sha256.tolist()).hex()
        found = sha256(self.memory_file)
        if recorded != found:
            raise ScoreFileError(
                f'{self.memory_file}: expected the training set with the SHA-256 {recorded}, but '
                f'got {found}: {type(self).__name__} was prepared from another file.'
            )

        file = load_scores(self.memory_file)
        if 'features' not in file.inputs:
            raise ScoreFileError(
                f'{self.memory_file}: expected features, but it has none: extract with '
                'tools/extract_scores.py ... --features.'
            )

        device = self.memory_sha256.device
        self.keep_memory(
            self._as_point(torch.from_numpy(file.inputs['features'])).to(device),
            torch.from_numpy(file.annotations.targets()).to(device),
        )
