"""A model as one function of images, for export."""

from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..datasets.transforms import LoadCheckedImage
from ..deploy.labels import Thr
from .inferencer import MultiLabelInferencer, find_pipeline


class ExportModel(nn.Module):
    """Maps prepared images to plain tensors, in place of data samples.

    N images, C labels, T steps.

    Args:
        model: A multi-label ``ImageClassifier``, ours or MMPretrain's.

    Raises:
        ValueError: If its decoder decides itself which labels an image has: scores alone would not
            tell them.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.decoder = getattr(model.head, 'decoder', None)
        if self.decoder is not None and not self.decoder.has_threshold:
            raise ValueError(
                f'{type(self.decoder).__name__} cannot be exported: it decides itself which labels '
                'an image has, and whoever runs the exported model would look for them above a '
                'threshold.'
            )
        with_steps = hasattr(self.decoder, 'num_steps')
        self.outputs = (
            ('scores', 'cnn_scores', 'step_scores', 'step_labels') if with_steps else ('scores',)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, 3, H, W) to scores (N, C), and with steps to cnn_scores (N, C),
        step_scores (N, T, C) and step_labels (N, T) as well.
        """  # noqa: D205
        logits = self._cnn_logits(images)
        scores = logits.float().sigmoid()
        if self.decoder is None:
            return (scores,)
        predictions = self.decoder.predict(scores)
        if 'step_scores' not in predictions:
            return (predictions['pred_score'],)
        return (
            predictions['pred_score'],
            scores,
            predictions['step_scores'],
            predictions['step_labels'],
        )

    def _cnn_logits(self, images: Tensor) -> Tensor:
        model: Any = self.model
        feats, head = model.extract_feat(images), model.head
        return head.fc(head.pre_logits(feats)) if hasattr(head, 'decoder') else head(feats)


def describe_model(inferencer: MultiLabelInferencer, thr: Thr = None) -> dict[str, Any]:
    """Collect what an exported model must be accompanied by.

    Args:
        inferencer: The model.
        thr: Thresholds to write in place of the model's own.

    Returns:
        ``classes``, ``preprocessing`` (see :func:`~morn_plugin.deploy.images.prepare_image`),
        ``thr`` and ``topk``.

    Raises:
        ValueError: If the test pipeline has a step that an exported model cannot repeat; names it.
    """
    head = inferencer.model.head
    own_thr, topk = (getattr(head, name, None) for name in ('thr', 'topk'))
    thr = own_thr if thr is None else thr
    return dict(
        classes=inferencer.classes,
        preprocessing=describe_preprocessing(inferencer),
        thr=thr,
        topk=topk if thr is None else None,
    )  # MMPretrain's heads may have both: thr decides


def describe_preprocessing(inferencer: MultiLabelInferencer) -> dict[str, Any]:
    """Put the test pipeline and the data preprocessor into plain values."""
    loader, *transforms = find_pipeline(inferencer.cfg)
    defaults = LoadCheckedImage()
    preprocessor = (
        inferencer.model.data_preprocessor
    )  # MMPretrain's or MMEngine's, which name one thing differently
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
    kind, backend = transform['type'], transform.get('backend', 'cv2')
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
        return dict(type='center_crop', size=[size, size] if isinstance(size, int) else list(size))
    raise ValueError(
        'Expected Resize to a fixed size, ResizeEdge of the short edge or CenterCrop in the test '
        f'pipeline, but got {transform}: an exported model could not repeat it.'
    )


def sample_input(inferencer: MultiLabelInferencer, images: list[str]) -> Tensor:
    """Prepare images as the model's own pipeline and data preprocessor do, to (N, 3, H, W)."""
    batch = inferencer.collate_fn([inferencer.prepare(path) for path in images])
    return inferencer.model.data_preprocessor(batch, False)['inputs'].detach()


def export_program(model: ExportModel, images: Tensor) -> torch.export.ExportedProgram:
    """Trace the model to a ``torch.export`` program whose number of images is free."""
    model.requires_grad_(False)
    with torch.no_grad():
        return torch.export.export(
            model, (images,), dynamic_shapes={'images': {0: torch.export.Dim('batch', min=1)}}
        )
