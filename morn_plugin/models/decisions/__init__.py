"""Decisions: rules that turn scores into labels; ``base`` defines their inputs."""

from ...utils.discovery import find_subclasses
from .base import DecisionRule
from .selecting import select_labels


def find_decisions() -> list[type[DecisionRule]]:
    """Find every decision rule in the modules of this folder."""
    return find_subclasses(__name__, DecisionRule)


__all__ = ['DecisionRule', 'find_decisions', 'select_labels']
