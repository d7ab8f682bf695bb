from types import SimpleNamespace

import pytest

from morn_plugin.datasets.converters import run


@pytest.fixture
def convert(capsys):
    """Run a converter; give exit status, output and errors, white space joined (tables are padded and wrapped)."""

    def call(converter, *argv):
        status = run(converter, [str(arg) for arg in argv])
        captured = capsys.readouterr()
        return SimpleNamespace(
            status=status, out=' '.join(captured.out.split()), err=' '.join(captured.err.split())
        )

    return call


@pytest.fixture
def put():
    """Write a file, and the folders on the way to it."""

    def write(path, content=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        content = f'picture {path.name}' if content is None else content
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def fails(convert):
    """Require a conversion to fail without writing annotations, and its message to hold all the given parts."""

    def call(converter, *argv, parts):
        result = convert(converter, *argv)
        assert result.status == 1
        for part in parts:
            assert str(part) in result.err
        assert 'Wrote' not in result.out

    return call
