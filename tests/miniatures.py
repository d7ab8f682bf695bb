"""Miniatures of MS-COCO, NUS-WIDE and PASCAL VOC in their official layouts, with all their labels and real JPEGs."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from morn_plugin.datasets.converters.voc import CLASSES as VOC_CLASSES

LABEL_COUNTS = {'train': (3, 1, 0, 2, 2, 1, 4, 1), 'test': (2, 0, 1, 3, 1)}  # labels of each image
# 80 with gaps, as the official ones
COCO_IDS = [identity for identity in range(1, 91) if identity % 9]


def draw(path: Path, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (*rng.integers(24, 48, 2), 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def noise(seed: int, cells: int = 10, side: int = 80) -> Image.Image:
    """A picture that resembles no other: random cells."""
    values = np.random.default_rng(seed).integers(0, 255, (cells, cells, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((side, side), Image.Resampling.NEAREST)


def pick_labels(num_classes: int, side: str, rng: np.random.Generator) -> list[list[int]]:
    return [
        sorted(rng.choice(num_classes, count, replace=False).tolist())
        for count in LABEL_COUNTS[side]
    ]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def coco(root: Path, rng: np.random.Generator) -> None:
    for side, folder in (('train', 'train2014'), ('test', 'val2014')):
        labels = pick_labels(80, side, rng)
        files = {i: f'COCO_{folder}_{i:012d}.jpg' for i in range(7, 7 + len(labels))}
        boxes = [
            dict(
                id=100 * i + n,
                image_id=i,
                category_id=COCO_IDS[label],
                iscrowd=0,
                area=4.0,
                bbox=[0, 0, 2, 2],
                segmentation=[[0, 0, 2, 0, 2, 2]],
            )
            for i, picked in zip(files, labels, strict=True)
            for n, label in enumerate([*picked, *picked[:1]])
        ]
        write(
            root / 'annotations' / f'instances_{folder}.json',
            json.dumps(
                dict(
                    info={},
                    licenses=[],
                    annotations=boxes,
                    images=[
                        dict(id=i, file_name=name, height=32, width=32) for i, name in files.items()
                    ],
                    categories=[
                        dict(id=i, name=f'category {i}', supercategory='any') for i in COCO_IDS
                    ],
                )
            ),
        )
        for name in files.values():
            draw(root / folder / name, rng)


def nuswide(root: Path, rng: np.random.Generator) -> None:
    concepts = [f'concept{i:02d}' for i in range(81)]
    write(root / 'ConceptsList' / 'Concepts81.txt', ''.join(f'{concept}\n' for concept in concepts))
    for side, name in (('train', 'Train'), ('test', 'Test')):
        labels = pick_labels(81, side, rng)
        images = [f'actor\\{i:04d}_{name}.jpg' for i in range(len(labels))]
        write(
            root / 'ImageList' / f'{name}Imagelist.txt', ''.join(f'{image}\n' for image in images)
        )

        for index, concept in enumerate(concepts):
            write(
                root / 'Groundtruth' / 'TrainTestLabels' / f'Labels_{concept}_{name}.txt',
                ''.join(f'{int(index in picked)}\n' for picked in labels),
            )

        for image in images:
            draw(root / 'Flickr' / image.replace('\\', '/'), rng)


def voc(root: Path, rng: np.random.Generator) -> None:
    kit = root / 'VOCdevkit' / 'VOC2007'
    for side, name in (('train', 'trainval'), ('test', 'test')):
        images = {f'{name}{i:06d}': picked for i, picked in enumerate(pick_labels(20, side, rng))}
        write(kit / 'ImageSets' / 'Main' / f'{name}.txt', ''.join(f'{image}\n' for image in images))
        for image, picked in images.items():
            objects = ''.join(
                f'<object><name>{VOC_CLASSES[label]}</name><difficult>{int(n == 0)}</difficult></object>'
                for n, label in enumerate(picked)
            )
            write(
                kit / 'Annotations' / f'{image}.xml',
                f'<annotation><filename>{image}.jpg</filename>{objects}</annotation>',
            )
            draw(kit / 'JPEGImages' / f'{image}.jpg', rng)


BUILDERS: dict[str, Callable[[Path, np.random.Generator], None]] = dict(
    coco=coco, nuswide=nuswide, voc=voc
)
