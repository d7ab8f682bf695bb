"""From a work folder or a checkpoint to config and weights."""

import ast
import os.path as osp
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from ..engine.checkpoints import CheckpointError, load_checkpoint

HELP = 'Name the config as well: --config FILE.'
EXPORTED = {
    '.pt2': 'is a torch.export program, and loading one may run code that is in it: load one of '
    'your own with torch.export.load (tools/docs/export.md), or export the model to .onnx, which '
    'tools/predict.py runs',
    '.onnx': 'is an exported model, which tools/predict.py alone runs: name the checkpoint or work '
    'folder that it came from',
}


def find_model(
    path: str | Path, config: str | Path | None = None
) -> tuple[Config, dict[str, Any], str]:
    """Find what belongs together.

    Args:
        path: A work folder, of which the best checkpoint is taken, else the last; or a checkpoint.
        config: The config. Defaults to None: the text in the checkpoint, else the one config file
            beside it.

    Returns:
        Config, the loaded checkpoint and its path.

    Raises:
        FileNotFoundError: If there is no checkpoint or no config.
        ValueError: If there are several and none is named, a checkpoint cannot be read, or it is an
            exported model.
    """
    checkpoint_path = find_checkpoint(path)
    try:
        checkpoint = load_checkpoint(checkpoint_path)
    except CheckpointError as error:
        raise ValueError(str(error)) from error
    if not isinstance(checkpoint, dict) or not any(
        key in checkpoint for key in ('state_dict', 'model')
    ):
        checkpoint = dict(state_dict=checkpoint)
    text = (checkpoint.get('meta') or {}).get('cfg')
    if config is not None:
        cfg = Config.fromfile(config)
    elif text:
        cfg = parse_config(text, f'the config in {checkpoint_path}')
    else:
        cfg = Config.fromfile(find_config(Path(checkpoint_path).parent))
    return cfg, checkpoint, checkpoint_path


def find_checkpoint(path: str | Path) -> str:
    """Give the checkpoint of a work folder, or the path itself if it is a file.

    MMEngine writes absolute paths into ``last_checkpoint``: only the name counts, so that a folder
    can be moved.
    """
    path = Path(path)
    if path.suffix in EXPORTED:
        raise ValueError(f'{path} {EXPORTED[path.suffix]}.')
    if path.is_file():
        return str(path)
    if not path.is_dir():
        raise FileNotFoundError(
            f'{path} is neither a checkpoint nor a work folder: it does not exist.'
        )
    best = sorted(path.glob('best_*.pth'))
    if len(best) > 1:
        raise ValueError(
            f'{path} holds several best checkpoints: name one of {[item.name for item in best]}.'
        )
    if best:
        return str(best[0])
    last = path / 'last_checkpoint'
    if last.is_file():
        named = path / osp.basename(last.read_text(encoding='utf-8').strip())
        if named.is_file():
            return str(named)
    others = list(path.glob('*.pth'))
    if not others:
        raise FileNotFoundError(f'{path} holds no checkpoint (*.pth).')
    if len(others) > 1:
        raise ValueError(
            f'{path} holds several checkpoints and none is the best or the last: name one of '
            f'{sorted(item.name for item in others)}.'
        )
    return str(others[0])


def find_config(folder: Path) -> Path:
    """Give the one config file of a folder."""
    found = sorted(folder.glob('*.py'))
    if not found:
        raise FileNotFoundError(
            f'The checkpoint has no config in it and {folder} holds none (*.py). {HELP}'
        )
    if len(found) > 1:
        raise ValueError(f'{folder} holds several configs: {[item.name for item in found]}. {HELP}')
    return found[0]


def parse_config(text: str, source: str) -> Config:
    """Read the config text that MMEngine wrote into a checkpoint, as data.

    Nothing of it is executed.

    MMEngine itself would run it as a Python file. What it names in ``custom_imports`` is imported,
    if it is installed.

    Raises:
        ValueError: If it is more than assignments of plain values.

    Examples:
        >>> parse_config('model = dict(type="A", depth=-1)', 'a text').model
        {'type': 'A', 'depth': -1}
        >>> parse_config('import os', 'a text')
        Traceback (most recent call last):
        ValueError: a text: expected assignments of plain values, but line 1 is: import os
    """
    values = {}
    for statement in ast.parse(text).body:
        try:
            if not isinstance(statement, ast.Assign) or not isinstance(
                statement.targets[0], ast.Name
            ):
                raise ValueError('not an assignment')
            values[statement.targets[0].id] = _evaluate(statement.value)
        except ValueError as error:
            raise ValueError(
                f'{source}: expected assignments of plain values, but line {statement.lineno} is: '
                f'{ast.unparse(statement)[:80]}'
            ) from error
    if values.get('custom_imports'):
        import_modules_from_strings(**values['custom_imports'])
    return Config(values)


def _evaluate(node: ast.AST) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        merged = {key: value for part in node.args for key, value in dict(_evaluate(part)).items()}
        return merged | {str(keyword.arg): _evaluate(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        return {
            _evaluate(key): _evaluate(value)
            for key, value in zip(node.keys, node.values, strict=True)
            if key
        }
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [_evaluate(item) for item in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand)
    if isinstance(node, ast.Name) and node.id in ('inf', 'nan'):  # as MMEngine prints them
        return float(node.id)
    return ast.literal_eval(node)
