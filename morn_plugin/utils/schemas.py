"""Schemas of data in files from other people.

These are a checkpoint, the metadata of an exported model, a thresholds file, the header of a score
file. An error for a wrong type names file and field; nothing is converted.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from .checks import check_thr_topk
from .class_names import find_faults
from .describing import describe

MAX_ERRORS = 5  # reported in one message
MAX_EDGE = 1 << 12  # pixels
MAX_PIXELS = 1_000_000_000


def _check_class_names(classes: Any) -> list[str]:
    for fault in find_faults(classes, 'classes'):
        raise ValueError(f'expected names in `classes`, but {fault}')
    return list(classes)


def _check_thr(thr: Any) -> Any:
    if thr is None:
        raise ValueError('expected numbers in `thr`, one or one for each label, but got None')
    check_thr_topk(thr, None)
    return thr


ClassNames = Annotated[Any, AfterValidator(_check_class_names)]
Thr = Annotated[Any, AfterValidator(_check_thr)]
Number = Annotated[float, Field(allow_inf_nan=False)]
ThreeNumbers = Annotated[list[Number], Field(min_length=3, max_length=3)]
Edge = Annotated[int, Field(ge=1, le=MAX_EDGE)]
Size = Annotated[list[Edge], Field(min_length=2, max_length=2)]
Text = Annotated[str, Field(max_length=100_000)]


class Schema(BaseModel):
    """Base of all schemas: values are not converted, unknown fields are ignored."""

    model_config = ConfigDict(
        strict=True, extra='ignore', frozen=True, hide_input_in_errors=True, defer_build=True
    )


class DatasetMeta(Schema):
    """A checkpoint's description of its training data."""

    classes: ClassNames | None = None
    cnn_checkpoint_sha256: Text | None = None


class CheckpointMeta(Schema):
    """The used part of a checkpoint's ``meta``."""

    cfg: str | None = None
    dataset_meta: DatasetMeta | None = None


class ScoreMapContent(Schema):
    """The map from scores to probabilities, see :class:`morn_plugin.evaluation.platt.PlattMap`."""

    model_config = ConfigDict(extra='forbid')

    slope: Annotated[Number, Field(gt=0)]
    offset: Number
    space: Literal['logit', 'score']


class DatasetContent(Schema):
    """The data set of a config: the used part."""

    dataset: 'DatasetContent | None' = None
    pipeline: list[dict[str, Any]] | None = None
    metainfo: dict[str, Any] | None = None


class LoaderContent(Schema):
    """A data loader of a config: the used part."""

    dataset: DatasetContent | None = None
    batch_size: PositiveInt | None = None
    num_workers: NonNegativeInt | None = None


class ConfigContent(Schema):
    """The config of a checkpoint: the part whose structure is used."""

    model: dict[str, Any] | None = None
    train_dataloader: LoaderContent | None = None
    val_dataloader: LoaderContent | None = None
    test_dataloader: LoaderContent | None = None
    default_hooks: dict[str, dict[str, Any] | None] | None = None


class ThresholdsContent(Schema):
    """A thresholds file, see :class:`morn_plugin.deploy.labels.Thresholds`."""

    model_config = ConfigDict(extra='forbid')

    thr: Thr
    classes: ClassNames
    measure: Text
    chosen_on: Text
    score_map: ScoreMapContent | None = None

    @model_validator(mode='after')
    def _check_numbers(self) -> 'ThresholdsContent':
        _check_one_a_label(self.thr, self.classes)
        return self


class Resize(Schema):
    """Resize to a fixed size."""

    type: Literal['resize']
    scale: Size
    backend: Literal['cv2', 'pillow']


class ResizeEdge(Schema):
    """Resize so that the short edge has a fixed size."""

    type: Literal['resize_edge']
    scale: Edge
    backend: Literal['cv2', 'pillow']


class CenterCrop(Schema):
    """Cut out the middle."""

    type: Literal['center_crop']
    size: Size


class Preprocessing(Schema):
    """The preprocessing of an image, see :func:`morn_plugin.deploy.images.prepare_image`."""

    transforms: Annotated[
        list[Annotated[Resize | ResizeEdge | CenterCrop, Field(discriminator='type')]],
        Field(max_length=100),
    ]
    mean: ThreeNumbers | None
    std: ThreeNumbers | None
    channels: Literal['RGB', 'BGR']
    background: Annotated[int, Field(ge=0, le=255)]
    max_pixels: Annotated[int, Field(ge=1, le=MAX_PIXELS)]

    @model_validator(mode='after')
    def _check_pair(self) -> 'Preprocessing':
        if (self.mean is None) != (self.std is None):
            raise ValueError('expected both `mean` and `std` or neither, but got one')
        if self.std is not None and not all(value > 0 for value in self.std):
            raise ValueError(f'expected `std` to be above 0, but got {self.std}')
        return self


class ExportMetadata(Schema):
    """The metadata of an exported model, see :func:`morn_plugin.apis.exporting.describe_model`."""

    classes: ClassNames
    preprocessing: Preprocessing
    thr: Thr | None
    topk: PositiveInt | None

    @model_validator(mode='after')
    def _check_choice(self) -> 'ExportMetadata':
        check_thr_topk(self.thr, self.topk)
        _check_one_a_label(self.thr, self.classes)
        if self.topk is not None and self.topk > len(self.classes):
            raise ValueError(
                f'expected `topk` to be at most the number of `classes`, {len(self.classes)}, but '
                f'got {self.topk}'
            )
        return self


class RunContent(Schema):
    """The note next to a result, see :class:`morn_plugin.deploy.run_notes.RunNote`."""

    settings: dict[str, Any]
    shard: Text
    images: NonNegativeInt | None
    failed: list[NonNegativeInt]


def _check_one_a_label(thr: Any, classes: list[str]) -> None:
    if isinstance(thr, Sequence) and len(thr) != len(classes):
        raise ValueError(
            f'expected `thr` to contain one number for each of the {len(classes)} `classes`, but '
            f'got {len(thr)}'
        )


Checked = TypeVar('Checked', bound=Schema)


def check_schema(
    schema: type[Checked],
    value: Any,
    source: str,
    error: type[Exception] = ValueError,
) -> Checked:
    """Check a value against a schema.

    Args:
        schema: The expected schema.
        value: Plain values from a file.
        source: The file's name, for the error.
        error: The type of error to raise.

    Raises:
        ValueError: If a field is missing or has a wrong type; names file, field, the expected and
            the found value, for up to ``MAX_ERRORS`` fields.

    Examples:
        >>> check_schema(CheckpointMeta, dict(cfg=5), 'a.pth')
        Traceback (most recent call last):
        ValueError: a.pth: `cfg`: expected a valid string, but got 5 (int).
    """
    try:
        return schema.model_validate(value)
    except ValidationError as problem:
        found = problem.errors(include_url=False)
    except RecursionError:
        raise error(f'{source}: expected plain values, but they are nested too deeply.') from None

    lines = [f'{source}: {_explain(item)}.' for item in found[:MAX_ERRORS]]
    if len(found) > MAX_ERRORS:
        lines.append(f'... {len(found)} in all.')
    raise error('\n'.join(lines))


def _explain(item: Any) -> str:
    place = _name_place(item['loc'])
    where = f'`{place}`: ' if place else ''
    if item['type'] == 'value_error':  # one of ours, which names the found value
        return where + item['msg'].removeprefix('Value error, ').rstrip('.')
    if item['type'] == 'missing':
        return f'{where}expected a value, but there is none'
    return f'{where}expected {_expected(item)}, but got {describe(item["input"])}'


def _expected(item: Any) -> str:
    names = {
        'extra_forbidden': 'no such field',
        'model_type': 'named fields',
        'union_tag_not_found': 'a `type`',
    }
    if item['type'] == 'union_tag_invalid':
        return f'a `type` of {item["ctx"]["expected_tags"]}'

    message = item['msg'].replace('Input should be ', '').replace('List should have', 'a list of')
    return names.get(item['type'], message.removesuffix(' after validation'))


def _name_place(loc: tuple) -> str:
    place = ''
    for part in loc:
        if isinstance(part, int):
            place += f'[{part}]'
        else:
            place += f'.{part}' if place else str(part)
    return place
