"""The search for a recipe: what a run is, what it keeps, and what the tables say."""

from pathlib import Path

import numpy as np
import pytest
from tools_helpers import run_in_process

from morn_plugin.apis.annotating import recipe, searching
from morn_plugin.apis.annotating.search_page import (
    Recipe,
    choose_recipe,
    describe,
    list_recipes,
    mean_gain,
)
from morn_plugin.apis.annotating.searching import (
    Found,
    ScoreFolder,
    Setting,
    State,
    pick,
    search,
    try_setting,
)
from morn_plugin.deploy.labels import mark_labels
from morn_plugin.evaluation.calibration import global_threshold
from morn_plugin.evaluation.functional import paper_figures
from morn_plugin.speed.score_runs import write_scores

LABELS = 6
SIZES = dict(train=64, val=20, test=20)


def make_scores(folder: Path, *sides: str) -> Path:
    folder.mkdir(parents=True)
    for side in sides:
        write_scores(folder / f'scores_{side}.safetensors', SIZES[side], LABELS)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_scores(tmp_path / 'drawings' / 'scores', *SIZES)


def state(steps: int, f1: float, m_ap: float = 0.0, test: float | None = None) -> State:
    return State(steps, m_ap, f1, f1, test, test)


def test_a_run_follows_its_setting(folder: Path, tmp_path: Path) -> None:
    opened = ScoreFolder(folder)
    assert opened.name == 'drawings'
    cfg = opened.make_config(Setting(5e-3, True, 7), steps=8, work_dir=tmp_path / 'run')
    assert cfg.optim_wrapper.optimizer.lr == 5e-3
    assert cfg.model.head.state_norm == recipe.STATE_NORM
    assert cfg.randomness.seed == 7
    assert cfg.train_dataloader.batch_size * 2 == 32  # a quarter of 64 images
    assert cfg.train_cfg.max_epochs == 2

    plain = opened.make_config(Setting(5e-3, False), steps=1, work_dir=tmp_path / 'run')
    assert plain.model.head.state_norm is None
    assert plain.train_cfg.max_epochs == 1


def test_a_run_is_evaluated_on_its_way(folder: Path) -> None:
    opened = ScoreFolder(folder)
    states = try_setting(opened, Setting(3e-3, True), steps=16)
    assert [found.steps for found in states] == [4, 8, 12, 16]
    assert len({found.m_ap for found in states}) > 1
    again = try_setting(opened, Setting(3e-3, True), steps=8)
    assert again == states[:2]  # a shorter run is the beginning of a longer one


def test_the_test_images_take_the_threshold_of_validation(folder: Path) -> None:
    opened = ScoreFolder(folder)
    found = opened.judge_cnn()
    sides = [
        (data.scores.numpy(), data.targets.numpy())
        for data in (opened.sides['val'], opened.sides['test'])
    ]
    thr = global_threshold(*sides[0], 'per-image-f1')
    figures = paper_figures(mark_labels(sides[1][0], thr), sides[1][1])
    assert (found.test_f1_l, found.test_f1_i) == pytest.approx((figures[2], figures[5]))
    assert found.steps == 0


def test_finished_runs_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [make_scores(tmp_path / name, 'train', 'val') for name in 'ab']
    tried = []

    def stand_in(folder: ScoreFolder, setting: Setting, steps: int) -> list[State]:
        tried.append((folder.name, setting))
        return [state(steps, 50.0)]

    monkeypatch.setattr(searching, 'try_setting', stand_in)
    out = tmp_path / 'runs.json'
    first = search(folders, [1e-3], [10, 20], 1, out)
    assert len(tried) == 4  # two data sets, with and without batch norm
    assert search(folders, [1e-3], [10, 20], 1, out) == first
    assert len(tried) == 4

    write_scores(folders[0] / 'scores_val.safetensors', 30, LABELS)  # another CNN
    search(folders, [1e-3], [10, 20], 1, out)
    assert [name for name, _ in tried[4:]] == ['a', 'a']
    printed = capsys.readouterr().out
    assert '[1/4] a, rate 0.001, no norm, seed 0: ' in printed

    with pytest.raises(ValueError, match='Expected folders of different names'):
        search([folders[0], folders[0]], [1e-3], [10], 1, out)


def test_a_length_keeps_its_own_best_state() -> None:
    states = [state(10, 50, m_ap=3), state(20, 60, m_ap=2), state(30, 70, m_ap=1)]
    assert pick(states, 20).steps == 20
    assert pick(states, 30).steps == 30
    assert pick(states, 5).steps == 10  # the first there is
    assert pick(states, 30, 'm_ap').steps == 10
    assert pick(states, 20, 'steps').steps == 20


@pytest.fixture
def found() -> dict[str, Found]:
    """Batch norm gains much on one data set, and loses little on the other."""
    return {
        'a': Found(
            state(0, 40, test=41),
            {
                Setting(1e-3, False, 0): [state(10, 42, test=43)],
                Setting(1e-3, True, 0): [state(10, 47, test=44), state(20, 41, test=40)],
                Setting(1e-3, True, 1): [state(10, 45, test=46)],
            },
        ),
        'b': Found(
            state(0, 60, test=61),
            {
                Setting(1e-3, False, 0): [state(10, 60, test=61)],
                Setting(1e-3, True, 0): [state(10, 59, test=60)],
                Setting(3e-3, True, 0): [state(10, 90, test=90)],  # not tried on the other
            },
        ),
    }


def test_the_best_recipe_is_that_of_all_data(found: dict[str, Found]) -> None:
    recipes = list_recipes(found, [10])
    assert recipes == [Recipe(1e-3, False, 10), Recipe(1e-3, True, 10)]
    assert choose_recipe(found, recipes) == Recipe(1e-3, True, 10)
    assert mean_gain(found['a'], Recipe(1e-3, True, 10)) == pytest.approx(np.mean([7, 5]))


def test_the_tables_name_gains_and_test_figures(found: dict[str, Found]) -> None:
    lines = describe(found, [10]).splitlines()
    assert '| 0.001 | yes | 10 | +6.00 | -1.00 | +2.50 |' in lines
    assert '| a | 41.0 / 41.0 | 45.0 / 45.0 | +6.00 |' in lines
    assert '| b | 61.0 / 61.0 | 60.0 / 60.0 | -1.00 |' in lines
    assert 'Best on average: rate 0.001, with batch norm, 10 steps.' in lines


def test_the_tool(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / 'runs.json'
    options = ['--rates', '0.001', '--lengths', '4', '--out', out]
    printed = run_in_process(monkeypatch, capfd, 'analysis/search_recipe.py', folder, *options)
    assert '[2/2] drawings, rate 0.001, batch norm, seed 0: ' in printed
    assert 'Best on average: rate 0.001' in printed
    assert out.is_file()
