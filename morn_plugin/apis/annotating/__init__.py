"""From a folder of images and a table of tags to a trained, calibrated and tested model."""

from .choosing import Choice, choose_model
from .pipeline import Request, annotate
from .planning import Plan, make_plan
from .steps import StepError

__all__ = ['Choice', 'Plan', 'Request', 'StepError', 'annotate', 'choose_model', 'make_plan']
