"""How long training will take, by a measured batch of each stage."""

from collections.abc import Mapping
from dataclasses import dataclass

from mmengine.config import Config

from .hardware import Hardware
from .images import Images
from .planning import Plan, add_reading
from .timing import format_time, time_cnn, time_decoder

TOOLS = 6  # that run after the estimate, each in a process of its own


@dataclass(frozen=True)
class Estimate:
    """Expected times, in seconds.

    Attributes:
        cnn: Of fine-tuning the CNN.
        scores: Of running it once over the training and the validation images, and the test.
        decoder: Of training the decoder.
        starting: Of starting the tools.
    """

    cnn: float
    scores: float
    decoder: float
    starting: float

    def describe(self) -> str:
        """Return the times as a sentence."""
        parts = {
            'CNN': self.cnn,
            'its scores': self.scores,
            'decoder': self.decoder,
            'starting the steps': self.starting,
        }
        listed = ', '.join(f'{name} {format_time(seconds)}' for name, seconds in parts.items())
        return f'about {format_time(sum(parts.values()))} ({listed})'


def estimate(
    plan: Plan,
    images: Images,
    hardware: Hardware,
    cnn: Config,
    decoder: Config,
    sizes: Mapping[str, int],
    start: float,
) -> Estimate:
    """Estimate the time by one measured batch of each stage.

    Args:
        plan: The settings.
        images: The user's images.
        hardware: The machine.
        cnn: Config of the first stage.
        decoder: Config of the second stage.
        sizes: Number of images of ``train``, ``val`` and ``test``.
        start: Seconds that a tool takes to start.
    """
    batch, device = plan.batch_size, hardware.device
    training, forward = (
        add_reading(seconds / batch, images.reading, hardware)
        for seconds in time_cnn(cnn, plan.image_size, batch, device)
    )
    step = time_decoder(decoder, batch, device)

    train, val = sizes['train'], sizes['val']
    return Estimate(
        cnn=plan.cnn_epochs * (train * training + val * forward),
        scores=sum(sizes.values()) * forward,
        decoder=plan.decoder_epochs * train / batch * step,
        starting=TOOLS * start,
    )
