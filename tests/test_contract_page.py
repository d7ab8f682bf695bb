"""The page on the contract names the defaults of the head and the options of the release."""

import ast
import inspect
import re

from tools_helpers import ROOT

from morn_plugin.models import MaskedStepwiseBCELoss, MultiOrderLSTM, MultiOrderLSTMHead
from morn_plugin.models.label_decoders.lstm import LSTMDecoder
from morn_plugin.models.label_decoders.release import RELEASE_LOSS, RELEASE_OPTIONS

PAGE = ROOT / 'docs' / 'contract.md'
CODE = re.compile(r'`([^`]+)`')
NOT_LITERAL = ('optimiser', '`num_steps`', '`thr`')


def literal(text):
    """Return the value of a cell's first code; ``dict(a=1)`` is a dictionary."""
    node = ast.parse(CODE.search(text)[1], mode='eval').body
    if isinstance(node, ast.Call):
        return {word.arg: ast.literal_eval(word.value) for word in node.keywords}
    return ast.literal_eval(node)


def rows():
    """Yield option, default and the release's cell of each row whose values are Python's."""
    table = PAGE.read_text(encoding='utf-8').split('| Option |')[1].split('\n\n')[0]
    for line in table.splitlines()[2:]:
        option, default, release = (cell.strip() for cell in line.strip('|').split(' | '))
        if not option.startswith(NOT_LITERAL):
            yield CODE.search(option)[1], default, release


def default_of(name):
    for owner in (MultiOrderLSTMHead, MultiOrderLSTM, LSTMDecoder):
        parameter = inspect.signature(owner).parameters.get(name)
        if parameter is not None:
            return parameter.default
    raise AssertionError(f'no such option: {name}')


def test_defaults_and_the_options_of_the_release_are_those_of_the_code():
    of_loss = inspect.signature(MaskedStepwiseBCELoss).parameters
    named = set()
    for option, default, release in rows():
        group, _, name = option.rpartition('.')
        assert literal(default) == (of_loss[name].default if group else default_of(name)), option
        options = RELEASE_LOSS if group else RELEASE_OPTIONS

        if name in options:
            assert literal(release) == options[name], option
            named.add(name)

    assert named >= {*RELEASE_LOSS, *RELEASE_OPTIONS} - {'picked_logit', 'sparse_embedding'}
    text = PAGE.read_text(encoding='utf-8')
    for name in ('picked_logit', 'sparse_embedding'):
        assert f'{name}={RELEASE_OPTIONS[name]}' in text
