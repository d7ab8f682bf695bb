"""What contributors rely on says the same in every place."""

import re
import shlex

import yaml
from tools_helpers import ROOT

from morn_plugin import __version__


def test_hooks_before_a_commit_run_what_make_lint_runs():
    hooks = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())['repos'][0]['hooks']
    before_commit = {tuple(shlex.split(hook['entry'])) for hook in hooks}
    recipe = re.search(r'^lint:.*\n((?:\t.*\n)+)', (ROOT / 'Makefile').read_text(), re.M)[1]

    by_make = set()
    for line in recipe.splitlines():
        program, *arguments = shlex.split(line)
        by_make.add((program.split('/')[-1], *(word for word in arguments if word != '.')))

    assert {
        tuple(word for word in hook if word != '--force-exclude') for hook in before_commit
    } == (by_make)


def test_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == __version__
    assert citation['cff-version'] == '1.2.0'
    assert citation['preferred-citation']['authors']


def test_guide_names_the_targets_there_are():
    guide = (ROOT / 'CONTRIBUTING.md').read_text()
    targets = set(re.findall(r'^([a-z]+):', (ROOT / 'Makefile').read_text(), re.M))
    named = set(re.findall(r'make ([a-z]+)', guide))
    assert {'quick', 'test', 'lint', 'format', 'demo', 'setup'} <= named <= targets
