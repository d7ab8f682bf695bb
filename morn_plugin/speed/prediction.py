"""Times prediction from files by a checkpoint and by its exported file, in alternating rounds."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ..apis.extracting_images import extract_images
from ..apis.faster import with_backbone
from ..deploy.image_streams import ImageStream
from ..models.onnx_network import AFTER

KEPT = ('logits', 'features')


@dataclass(frozen=True)
class Timing:
    """The time of one way of predicting.

    Attributes:
        name: Its name.
        seconds: For all images, one number per round.
    """

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.seconds)

    def ratio(self, other: 'Timing') -> float:
        """Return the time relative to another way: the median over pairs of rounds."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


def time_in_turn(ways: dict[str, Callable[[], Any]], rounds: int) -> list[Timing]:
    """Time several ways in alternating rounds, after one warm-up round.

    Args:
        ways: Functions to run, by name.
        rounds: Number of rounds.
    """
    for run in ways.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return [Timing(name, values) for name, values in seconds.items()]


def compare_prediction(
    inferencer: Any, exported: Any, paths: Sequence[str], batch_size: int, rounds: int
) -> list[Timing]:
    """Time a checkpoint as used for many images, its forms in PyTorch, and the exported file.

    Args:
        inferencer: A :class:`~morn_plugin.apis.MultiLabelInferencer` on a CPU.
        exported: The :class:`~morn_plugin.deploy.onnx_model.OnnxModel` of the same model.
        paths: Images.
        batch_size: Images at once.
        rounds: Number of rounds.

    Returns:
        Prediction from files by the checkpoint and by the exported file, then the network alone on
        the same images in memory: as used, folded, as it is, and exported.
    """
    batches = list(inferencer.preprocess(paths, batch_size))
    network, plain = _settle(inferencer, paths, batch_size), inferencer.model
    folded = with_backbone(plain, network.backbone.faster)
    arrays = [plain.data_preprocessor(batch, False)['inputs'].numpy() for batch in batches]

    return time_in_turn(
        {
            'from files, checkpoint': lambda: list(inferencer.predict(paths, batch_size)),
            'from files, exported': lambda: list(exported.predict(paths, batch_size)),
            'network, as used': lambda: _run(network, batches),
            'network, folded': lambda: _run(folded, batches),
            'network, as it is': lambda: _run(plain, batches),
            'network, exported': lambda: [exported.run(array) for array in arrays],
        },
        rounds,
    )


def compare_extraction(
    inferencer: Any, paths: Sequence[str], batch_size: int, rounds: int
) -> list[Timing]:
    """Time the extraction of scores, logits and features, and its parts.

    Args:
        inferencer: A :class:`~morn_plugin.apis.MultiLabelInferencer` on a CPU.
        paths: Images.
        batch_size: Images at once.
        rounds: Number of rounds.

    Returns:
        Extraction from files into a file; reading and the network without a file; then alone, on
        the same images in memory, the network as used and the model's own forward.
    """
    inferencer.model.keep_inputs(KEPT)
    batches = list(inferencer.preprocess(paths, batch_size))
    network = _settle(inferencer, paths, batch_size)

    def extract() -> None:
        with TemporaryDirectory() as folder, redirect_stderr(StringIO()):
            out = Path(folder, 'scores.safetensors')
            extract_images(inferencer, ImageStream(paths), out, KEPT, {}, batch_size)

    return time_in_turn(
        {
            'extraction from files': extract,
            'reading and the network': lambda: _run(
                network, inferencer.preprocess(paths, batch_size)
            ),
            'the network as used, alone': lambda: _run(network, batches),
            "the model's forward, alone": lambda: _run(inferencer.model, batches),
        },
        rounds,
    )


def _settle(inferencer: Any, paths: Sequence[str], batch_size: int) -> Any:
    """Predict so many images that the network takes the form that it keeps, and return it."""
    many = list(islice(cycle(paths), AFTER + batch_size))
    list(inferencer.predict(many, batch_size))
    return inferencer._network[1]


@torch.inference_mode()
def _run(network: Any, batches: Iterable[dict[str, Any]]) -> None:
    for batch in batches:
        network.test_step(batch)


def time_start(arguments: Sequence[str], rounds: int) -> list[float]:
    """Return the seconds from the shell to a Python program's first line, one number per round.

    A first run does not count. It leaves the bytecode, as an installed package has it.

    Args:
        arguments: Those of Python.
        rounds: Number of rounds.

    Raises:
        subprocess.CalledProcessError: If the program fails.
    """
    environment = dict(os.environ, PYTHONUNBUFFERED='1')  # as on a screen
    environment.pop('PYTHONDONTWRITEBYTECODE', None)
    command = [sys.executable, *arguments]

    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            seconds.append(time.perf_counter() - start)
            process.stdout.read()
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)

    return seconds[1:]
