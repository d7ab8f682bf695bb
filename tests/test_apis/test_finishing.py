"""A tool ends with what it made and what to do next."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.hooks import CheckpointHook

from morn_plugin.apis.finishing import find_checkpoints, say_what_was_tested, say_what_was_trained


def make_runner(hooks: list[Any], **info: Any) -> Any:
    said: list[str] = []
    logger = SimpleNamespace(info=lambda text, **kwargs: said.append(text), said=said)
    hub = SimpleNamespace(runtime_info=info, log_scalars={})
    return SimpleNamespace(hooks=hooks, logger=logger, message_hub=hub)


def make_hook(folder: Path, best: str | None, last: str | None, **options: Any) -> CheckpointHook:
    hook = CheckpointHook(interval=1, rule='greater', **options) if options else CheckpointHook()
    if best is not None:
        hook.best_ckpt_path = str(folder / best)
    if last is not None:
        hook.last_ckpt = str(folder / last)
    return hook


def test_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    work = tmp_path / 'work'
    hook = make_hook(work, 'best_a.pth', 'epoch_2.pth', save_best='a/f1')
    runner = make_runner([object(), hook], best_score=31.4159)
    say_what_was_trained(runner, 'my config.py')
    done, following = runner.logger.said
    assert done == (
        'Done. Checkpoints: work/best_a.pth, the best by a/f1 = 31.42; work/epoch_2.pth, '
        'the last one.'
    )
    assert following.endswith("test.py 'my config.py' work/best_a.pth")


def test_training_that_chooses_nothing(tmp_path: Path) -> None:
    runner = make_runner([make_hook(tmp_path, None, 'epoch_2.pth')])
    say_what_was_trained(runner, 'c.py')
    assert runner.logger.said[0].endswith('epoch_2.pth, the last one.')
    assert runner.logger.said[1].endswith('epoch_2.pth')
    assert 'the best' not in runner.logger.said[0]


def test_training_that_saved_nothing(tmp_path: Path) -> None:
    for hooks in ([], [make_hook(tmp_path, None, None)]):
        runner = make_runner(hooks)
        say_what_was_trained(runner, 'c.py')
        assert runner.logger.said == []


def test_several_figures(tmp_path: Path) -> None:
    hook = make_hook(tmp_path, None, None, save_best=['a', 'b'])
    hook.best_ckpt_path_dict = dict(a=str(tmp_path / 'best_a.pth'), b=None)
    best, last = find_checkpoints(hook)
    assert {name: Path(path).name for name, path in best.items()} == dict(a='best_a.pth')
    assert last is None


def test_testing() -> None:
    runner = make_runner([])
    runner.test_dataloader = SimpleNamespace(dataset=[])
    say_what_was_tested(runner, 'a.pth', None)
    say_what_was_tested(runner, 'a.pth', 'figures.json')
    assert [line.partition(':')[0] for line in runner.logger.said] == [
        'Next, to see where it errs',
        'Wrote figures.json.',
        'Next, to see where it errs',
    ]
    assert runner.logger.said[0].endswith('analysis/report.py a.pth')
