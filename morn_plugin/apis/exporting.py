"""A model as one function of images, for export."""

from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch._dynamo.exc import UserError

from ..datasets.transforms import LoadCheckedImage
from ..deploy.labels import Thr
from ..models.shifted_windows import number_from_shapes
from ..utils.fields import CHOSEN, CNN_SCORES, PREDICTION_FIELDS, SCORES, PredictionField
from .inferencer import MultiLabelInferencer, find_pipeline
from .own_decisions import plain_decision


class ExportModel(nn.Module):
    """Maps prepared images to plain tensors instead of data samples.

    N images, C labels, T steps.

    Args:
        model: A multi-label ``ImageClassifier``, ours or MMPretrain's.

    Raises:
        ValueError: If its decoder decides itself which labels an image has, which scores would not
            tell, or its answer for an image depends on the others of the batch.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.head = model.head
        if not getattr(model.head, 'has_threshold', True):
            raise ValueError(
                f'{model.head.method} cannot be exported: it decides itself which labels an image '
                'has, and whoever runs the exported model would look for them above a threshold.'
            )
        if getattr(getattr(model.head, 'decoder', None), 'depends_on_batch', False):
            raise ValueError(
                f'{model.head.method} cannot be exported with these settings: its answer for an '
                'image depends on the other images that are predicted with it.'
            )

        self.decision = getattr(model.head, 'decision', None)
        #: Whether labels are an output, since a rule that looks at the image chooses them.
        self.chooses = self.decision is not None and self.decision.as_plain() is None
        self.fields = [field for field in PREDICTION_FIELDS if self._has(field)]
        self.outputs = tuple(field.array for field in self.fields)
        if self.chooses:
            self.outputs += (CHOSEN,)

    def _has(self, field: PredictionField) -> bool:
        """Return whether the model's predictions have a field."""
        if field is SCORES:
            return True
        if getattr(self.head, 'decoder', None) is None:
            return False
        return self.head.has_cnn if field is CNN_SCORES else self.head.has_steps

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, 3, H, W) to the fields in :attr:`outputs`.

        Returns:
            scores (N, C); of a decoder behind a classifier also cnn_scores (N, C), of one with
            steps step_scores (N, T, C) and step_labels (N, T), and of a rule that looks at the
            image labels (N, C), a mask.
        """
        feats = self.model.extract_feat(images)
        if not hasattr(self.head, 'decoder_inputs'):  # one of MMPretrain's heads
            return (self.head(feats).float().sigmoid(),)

        inputs = self.head.decoder_inputs(feats)
        predictions = self.head.run_decoder(inputs)
        scores = predictions[SCORES.sample]
        if self.decision is not None:
            predictions[SCORES.sample] = self.decision.map_scores(scores)
        if self.head.has_cnn:
            predictions[CNN_SCORES.sample] = inputs['scores']

        found = tuple(predictions[field.sample] for field in self.fields)
        return (*found, self.head.decide(scores, inputs)) if self.chooses else found


def describe_model(inferencer: MultiLabelInferencer, thr: Thr = None) -> dict[str, Any]:
    """Collect the metadata of an exported model.

    Args:
        inferencer: The model.
        thr: Thresholds that replace the model's own.

    Returns:
        ``classes``, ``preprocessing`` (see :func:`~morn_plugin.deploy.images.prepare_image`),
        ``thr`` and ``topk``.

    Raises:
        ValueError: If the test pipeline has a step that an exported model cannot repeat; names it.
    """
    head = inferencer.model.head
    own = plain_decision(head) or dict(thr=None, topk=None)
    thr = own['thr'] if thr is None else thr
    # MMPretrain's heads may have both: thr decides
    return dict(
        classes=inferencer.classes,
        preprocessing=describe_preprocessing(inferencer),
        thr=thr,
        topk=own['topk'] if thr is None else None,
    )


def describe_preprocessing(inferencer: MultiLabelInferencer) -> dict[str, Any]:
    """Describe the test pipeline and the data preprocessor in plain values."""
    loader, *transforms = find_pipeline(inferencer.cfg)
    defaults = LoadCheckedImage()
    # MMPretrain's or MMEngine's; they differ in one name.
    preprocessor = inferencer.model.data_preprocessor
    to_rgb = getattr(preprocessor, 'to_rgb', False) or getattr(
        preprocessor, '_channel_conversion', False
    )
    normalises = getattr(preprocessor, '_enable_normalize', False)
    mean, std = (
        getattr(preprocessor, name).flatten().tolist() if normalises else None
        for name in ('mean', 'std')
    )
    return dict(
        transforms=[_describe(item) for item in transforms if item['type'] != 'PackInputs'],
        mean=mean,
        std=std,
        channels='RGB' if to_rgb else 'BGR',
        background=loader.get('background', defaults.background),
        max_pixels=loader.get('max_pixels', defaults.max_pixels),
    )


def _describe(transform: Config) -> dict[str, Any]:
    kind = transform['type']
    backend = transform.get('backend', 'cv2')
    if transform.get('interpolation', 'bilinear') != 'bilinear' or backend not in ('cv2', 'pillow'):
        raise ValueError(
            'Expected a transform with bilinear interpolation by cv2 or pillow, but got '
            f'{transform}: an exported model could not repeat it.'
        )
    if kind == 'Resize' and not transform.get('keep_ratio'):
        scale = transform['scale']
        return dict(
            type='resize',
            scale=[scale, scale] if isinstance(scale, int) else list(scale),
            backend=backend,
        )
    if kind == 'ResizeEdge' and transform.get('edge', 'short') == 'short':
        return dict(type='resize_edge', scale=transform['scale'], backend=backend)
    if kind == 'CenterCrop' and not transform.get('auto_pad'):
        size = transform['crop_size']
        sides = [size, size] if isinstance(size, int) else list(size)
        return dict(type='center_crop', size=sides)

    raise ValueError(
        'Expected Resize to a fixed size, ResizeEdge of the short edge or CenterCrop in the test '
        f'pipeline, but got {transform}: an exported model could not repeat it.'
    )


def sample_input(inferencer: MultiLabelInferencer, images: list[str]) -> Tensor:
    """Prepare images as the model's own pipeline and data preprocessor do, to (N, 3, H, W)."""
    batch = inferencer.collate_fn([inferencer.prepare(path) for path in images])
    return inferencer.model.data_preprocessor(batch, False)['inputs'].detach()


# GPU kernels process a limited number of images at once, which tracing would detect.
MAX_BATCH = 65_535
TRACING_ERRORS = (RuntimeError, TypeError, UserError)


def export_program(model: ExportModel, images: Tensor) -> torch.export.ExportedProgram:
    """Trace the model to a ``torch.export`` program for any number of images.

    ONNX is also made from the program, because from the model itself the exporter would silently
    fix the number of images.

    Args:
        model: The model to trace.
        images: At least two images, (N, 3, H, W).

    Raises:
        ValueError: If the model cannot be traced so; names its backbone or its method.
    """
    model.requires_grad_(False)
    try:
        return trace(model, images)
    except TRACING_ERRORS as error:
        raise ValueError(_explain_failure(model, images, error)) from error


def trace(module: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """Trace a module of images (N, 3, H, W) whose number N stays free."""
    number = torch.export.Dim('batch', min=1, max=MAX_BATCH)
    with number_from_shapes(), torch.no_grad():
        return torch.export.export(module, (images,), dynamic_shapes={'images': {0: number}})


def _explain_failure(model: ExportModel, images: Tensor, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    reason = next(filter(None, lines), '')
    if 'specialized' in str(error):
        what = 'its code depends on the number of images, which an exported model must leave free'
    else:
        what = 'its code has a step that torch.export cannot follow'

    part, other = _find_culprit(model, images)
    return (
        f'{part} cannot be exported: {what} ({type(error).__name__}: {reason}). Use another '
        f'{other} for export, or run this model with tools/predict.py.'
    )


def _find_culprit(model: ExportModel, images: Tensor) -> tuple[str, str]:
    """Name the part that cannot be traced, and what it is: the backbone, or what stands behind."""
    classifier: Any = model.model
    backbone = type(classifier.backbone).__name__
    if getattr(classifier.head, 'decoder', None) is None:
        return backbone, 'backbone'

    try:
        trace(_Features(classifier), images)
    except TRACING_ERRORS:
        return backbone, 'backbone'

    return classifier.head.method, 'method'


class _Features(nn.Module):
    """A model without its head."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        return self.model.extract_feat(images)
