"""From a folder of images and a table of tags to a trained, calibrated and tested model."""

from .choosing import Choice, choose_model
from .hardware import Hardware
from .images import Images
from .pipeline import Request, annotate, make_request
from .planning import Plan, make_plan
from .steps import StepError

__all__ = [
    'Choice',
    'Hardware',
    'Images',
    'Plan',
    'Request',
    'StepError',
    'annotate',
    'choose_model',
    'make_plan',
    'make_request',
]
