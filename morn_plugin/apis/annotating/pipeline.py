"""Runs the package's tools one after the other, from a table of images to a model.

Each step can also be run by its tool alone: ``tools/train.py`` and ``tools/test.py`` accept the
written configs.
"""

import argparse
import hashlib
import shutil
import textwrap
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmpretrain.registry import DATASETS, MODELS

from ...datasets.annotations import AnnotationError, load_annotations
from ...datasets.converters.base import Parsed
from ...datasets.converters.tables.image_names import ImageIndex
from ...datasets.converters.tags import convert_own_data
from ...engine.checkpoint_content import read_model_checkpoint
from ...engine.kept_thresholds import CNN
from ...engine.weights import load_weights
from ...utils.files import atomic_write, sha256
from ...utils.next_steps import next_step
from ...utils.strict_json import read_json, write_json
from ..finding import find_checkpoint, read_own_config
from .cached import predict_cached
from .choosing import Choice, choose_model
from .configs import SIDES, make_cnn_config, make_decoder_config, make_image_config
from .estimating import estimate
from .hardware import find_hardware
from .images import look_at
from .planning import find_backbones, make_plan
from .steps import Steps

NUM_STEPS = 8
PICTURES = 16  # test images that are drawn
MIN_COUNT = (5, 20)  # smallest and largest default of the minimum number of images per tag


@dataclass(frozen=True)
class Request:
    """The user's request.

    Attributes:
        images: The image folder.
        tags: The table, or None: the image folder has one folder per tag.
        out: Where everything is written.
        quick: Whether to train a first model in a few minutes.
        min_count: Minimum number of images per tag, or None: by the number of images.
        image_size: Edge in pixels, or None: by data and hardware.
        epochs: Epochs of the CNN, or None: by the data.
        reading: Further options of :func:`convert_own_data`, which else guesses them.
    """

    images: Path
    tags: Path | None
    out: Path
    quick: bool = False
    min_count: int | None = None
    image_size: int | None = None
    epochs: int | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)


def make_request(args: argparse.Namespace) -> Request:
    """Return the request of a command line; options that are not its own are the converter's."""
    names = {field.name for field in fields(Request)}
    own = {name: value for name, value in vars(args).items() if name in names}
    reading = {name: value for name, value in vars(args).items() if name not in names}
    return Request(**own, reading=reading)


def annotate(request: Request) -> Path:
    """Train, choose, test and report.

    Args:
        request: The request. Repeating it skips finished steps and continues an interrupted one.

    Returns:
        The model file.

    Raises:
        AnnotationError: If there are no images, no tag is frequent enough, or the tags cannot be
            used.
        StepError: If a step fails; shows the end of its log.
        OSError: If a file cannot be read or written.
    """
    MMLogger.get_current_instance().setLevel('WARNING')  # of this process: tools log to files
    return _Run(request).run()


class _Run:
    def __init__(self, request: Request) -> None:
        self.request = request
        self.out = request.out
        self.start = time.process_time()  # this process has imported what every tool imports

        self.files = _list_images(request.images)
        self.out.mkdir(parents=True, exist_ok=True)
        self.steps = Steps(self.out, NUM_STEPS)

        self.data, self.scores = self.out / 'data', self.out / 'scores'
        self.weights = self.out / 'pretrained.pth'
        self.cnn_config, self.decoder_config, self.image_config = (
            self.out / f'{name}.py' for name in ('cnn', 'decoder', 'image')
        )
        self.cnn_dir, self.decoder_dir = self.out / 'cnn', self.out / 'decoder'
        self.choice_file, self.model = self.out / 'choice.json', self.out / 'model.pth'
        self.metrics, self.report = self.out / 'metrics.json', self.out / 'report.html'
        self.pictures = self.out / 'pictures'

    def run(self) -> Path:
        self._convert()
        self._plan()
        self._train_cnn()
        self._cache_scores()
        self._train_decoder()
        choice = self._choose()
        self._test()
        self._write_report(choice)
        self._say_result(choice)
        return self.model

    def _convert(self) -> None:
        request = self.request
        low, high = MIN_COUNT
        min_count = request.min_count or int(np.clip(len(self.files) // 100, low, high))

        def work() -> None:
            parsed = self._convert_logged(min_count)
            for note in parsed.notes:
                print(textwrap.indent(note, ' ' * 6))
            sizes = {side: len(split.images) for side, split in parsed.splits.items()}
            print('      ' + ', '.join(f'{side} {number:,}' for side, number in sizes.items()))

        settings = dict(
            images=str(request.images.resolve()),
            listing=_digest_listing(request.images, self.files),
            tags=_digest_table(request.tags),
            aliases=_digest_table(request.reading.get('aliases')),
            min_count=min_count,
            reading=dict(request.reading),
        )
        made = [self.data / f'{side}.json' for side in SIDES]
        self.steps.run('convert', 'Read the table', settings, lambda: _are_there(made), work)

    def _convert_logged(self, min_count: int) -> Parsed:
        """Convert; the converter's output goes to the log."""
        log = self.steps.log_dir / 'convert.log'
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, 'w', encoding='utf-8') as file, redirect_stdout(file):
            parsed = convert_own_data(
                self.request.images,
                self.request.tags,
                self.data,
                min_count=min_count,
                overwrite=True,
                complete_sides=True,
                **self.request.reading,
            )
        lacking = [side for side in SIDES if side not in parsed.splits]
        if lacking:
            raise AnnotationError(
                f'the sides {", ".join(SIDES)} are needed, but no image is left for {lacking[0]}: '
                'give it more images, or leave out the column of the sides.'
            )
        return parsed

    def _plan(self) -> None:
        request = self.request

        def work() -> None:
            sizes, num_classes = self._count()
            hardware = find_hardware()
            images = look_at(request.images, self.files, sizes['train'])
            plan = make_plan(
                images,
                hardware,
                request.quick,
                request.image_size,
                request.epochs,
                find_backbones(),
            )

            self._make_weights(plan.backbone)
            train = sizes['train']
            cnn = make_cnn_config(plan, request.images, self.data, self.weights, num_classes, train)
            decoder = make_decoder_config(plan, self.scores, num_classes, train)
            cnn.dump(self.cnn_config)
            decoder.dump(self.decoder_config)
            print(f'      On {hardware.describe()}: {plan.describe()}.', flush=True)
            expected = estimate(plan, images, hardware, cnn, decoder, sizes, self.start)
            print(f'      Expected: {expected.describe()}.', flush=True)

        self.steps.run(
            'plan',
            'Choose the settings',
            dict(quick=request.quick, image_size=request.image_size, epochs=request.epochs),
            lambda: _are_there([self.weights, self.cnn_config, self.decoder_config]),
            work,
        )

    def _make_weights(self, backbone: str) -> None:
        tool = 'model_converters/efficientnet_lite.py'
        self.steps.run_tool('weights', tool, self.weights, '--variant', backbone)

    def _count(self) -> tuple[dict[str, int], int]:
        sides = {side: load_annotations(self.data / f'{side}.json') for side in SIDES}
        sizes = {side: len(found.data_list) for side, found in sides.items()}
        return sizes, len(sides['train'].classes)

    def _train_cnn(self) -> None:
        self._train('cnn', 'Fine-tune the CNN', self.cnn_config, self.cnn_dir)

    def _train_decoder(self) -> None:
        self._train('decoder', 'Train the decoder', self.decoder_config, self.decoder_dir)

    def _train(self, name: str, title: str, config: Path, folder: Path) -> None:
        def work() -> None:
            self.steps.run_tool(name, 'train.py', config, '--work-dir', folder, '--resume')

        self.steps.run(
            name,
            title,
            dict(config=sha256(config)),  # an edited one is trained again
            lambda: any(folder.glob('best_*.pth')),
            work,
            lambda: shutil.rmtree(folder, ignore_errors=True),
        )

    def _cache_scores(self) -> None:
        sides = ('train', 'val')
        made = {side: self.scores / f'scores_{side}.safetensors' for side in sides}

        def work() -> None:
            self.steps.run_tool(
                'scores',
                'extract_scores.py',
                self.cnn_config,
                find_checkpoint(self.cnn_dir),
                self.scores / 'scores_{split}.safetensors',
                '--split',
                ','.join(sides),
                '--work-dir',
                self.scores,
            )

        checkpoint = sha256(find_checkpoint(self.cnn_dir))
        self.steps.run(
            'scores',
            "Cache the CNN's scores",
            dict(checkpoint=checkpoint),
            lambda: _are_there(list(made.values())),
            work,
        )

    def _choose(self) -> Choice:
        checkpoint = find_checkpoint(self.decoder_dir)

        def work() -> None:
            cnn, decoder = (read_own_config(p) for p in (self.cnn_config, self.decoder_config))
            choice = choose_model(*_validate(decoder, checkpoint))
            both = decoder if choice.kept == 'decoder' else None
            image = make_image_config(cnn, both, choice.thr)
            image.dump(self.image_config)
            self._write_model(choice, image, checkpoint)
            write_json(self.choice_file, choice.as_plain(), indent=2)
            print(f'      {choice.describe()}', flush=True)

        made = [self.choice_file, self.model, self.image_config]
        self.steps.run(
            'choose',
            'Choose on the validation images',
            dict(checkpoint=sha256(checkpoint)),
            lambda: _are_there(made),
            work,
        )
        return Choice.from_plain(read_json(self.choice_file))

    def _write_model(self, choice: Choice, image: Config, decoder: str) -> None:
        """Write one file with weights, classes, thresholds and config."""
        cnn = find_checkpoint(self.cnn_dir)
        if choice.kept == 'decoder':
            self.steps.run_tool(
                'merge',
                'model_converters/merge_decoder.py',
                cnn,
                decoder,
                self.model,
                '--config',
                self.image_config,
            )
            return
        content = read_model_checkpoint(cnn)
        meta = dict(dataset_meta=content['meta']['dataset_meta'], cfg=image.pretty_text)
        with atomic_write(self.model) as file:
            torch.save(dict(meta=meta, state_dict=content['state_dict']), file)

    def _test(self) -> None:
        sizes, _ = self._count()

        def work() -> None:
            self.steps.run_tool(
                'test',
                'test.py',
                self.image_config,
                self.model,
                '--work-dir',
                self.out / 'test',
                '--out',
                self.metrics,
                '--show-dir',
                self.pictures,
                '--interval',
                str(max(sizes['test'] // PICTURES, 1)),
            )

        settings = dict(model=sha256(self.model), config=sha256(self.image_config))
        self.steps.run(
            'test',
            'Test once, and draw',
            settings,
            lambda: _are_there([self.metrics]) and self.pictures.is_dir(),
            work,
            lambda: shutil.rmtree(self.pictures, ignore_errors=True),
        )

    def _write_report(self, choice: Choice) -> None:
        log_dir = self.decoder_dir if choice.kept == 'decoder' else self.cnn_dir

        def work() -> None:
            self.steps.run_tool(
                'report',
                'analysis/report.py',
                self.model,
                '--config',
                self.image_config,
                '--log-dir',
                log_dir,
                '--out',
                self.report,
            )

        self.steps.run('report', 'Write the report', {}, lambda: _are_there([self.report]), work)

    def _say_result(self, choice: Choice) -> None:
        figures = read_json(self.metrics)
        if choice.kept == 'decoder':
            chosen = (
                f'Chosen: the CNN with the decoder. F1_L / F1_I on the test images '
                f'{_pair(figures)}; the calibrated CNN alone {_pair(figures, f"{CNN}/")}.'
            )
        else:
            chosen = (
                f'Chosen: the CNN alone, calibrated, since the decoder does not help here. '
                f'F1_L / F1_I on the test images {_pair(figures)}.'
            )
        print(chosen)
        print(
            f'Model {self.model}; report {self.report}; pictures {self.pictures}; configs '
            f'{self.cnn_config.name}, {self.decoder_config.name} and {self.image_config.name} in '
            f'{self.out}.'
        )
        print(next_step('predict', self.model, 'PHOTOS', to='label images'), flush=True)


def _list_images(folder: Path) -> list[str]:
    """List the images of a folder.

    Raises:
        NotADirectoryError: If it is not a folder.
        AnnotationError: If it has no images.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f'{folder} is not a folder of images.')
    files = ImageIndex(folder).files
    if not files:
        raise AnnotationError(f'{folder}: expected images in it or its folders, but found none.')
    return files


def _digest_listing(root: Path, files: list[str]) -> str:
    """Digest names and sizes of the images, so that a change of either is seen."""
    lines = ''.join(f'{name}\t{(root / name).stat().st_size}\n' for name in files)
    return hashlib.sha256(lines.encode('utf-8', 'surrogateescape')).hexdigest()


def _digest_table(tags: Path | None) -> str:
    """Digest the table, or all tables of a folder.

    Raises:
        FileNotFoundError: If it does not exist.
    """
    if tags is None:
        return ''
    if not tags.exists():
        raise FileNotFoundError(
            f'{tags}: expected a table of tags, or a folder, but it is not there.'
        )
    files = [tags] if tags.is_file() else sorted(p for p in tags.rglob('*') if p.is_file())
    return hashlib.sha256(''.join(map(sha256, files)).encode()).hexdigest()


def _are_there(paths: list[Path]) -> bool:
    return all(path.is_file() for path in paths)


def _validate(decoder: Config, checkpoint: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run the decoder over the cached validation scores.

    Returns:
        The CNN's scores, the decoder's and the targets, (N, C) each.
    """
    dataset: Any = DATASETS.build(decoder.val_dataloader.dataset.to_dict())
    model = MODELS.build(decoder.model.to_dict()).eval()
    load_weights(model, read_model_checkpoint(checkpoint)['state_dict'])

    targets = dataset.targets.numpy().astype(np.int8)
    return dataset.scores.numpy(), predict_cached(model, dataset), targets


def _pair(figures: dict[str, float], prefix: str = '') -> str:
    """Return F1_L / F1_I of the tool's figures."""
    label, image = (figures[f'{prefix}{kind}/f1-score'] for kind in ('per-label', 'per-image'))
    return f'{label:.1f} / {image:.1f}'
