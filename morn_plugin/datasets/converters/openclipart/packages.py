"""Downloads and unpacks the Debian packages of the collection."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ('openclipart-png', 'openclipart-svg')


@contextmanager
def source_folder(unpacked: Path | None, debs: Sequence[Path] | None) -> Iterator[Path]:
    """Yield a folder with the unpacked packages, a temporary one if needed.

    Args:
        unpacked: Folder of packages that are already unpacked.
        debs: The package files; downloaded if both are None.

    Raises:
        FileNotFoundError: If a package file or a program is missing.
        RuntimeError: If downloading or unpacking fails; says why.
    """
    if unpacked is not None:
        yield unpacked
        return

    with tempfile.TemporaryDirectory(prefix='openclipart-') as name:
        folder = Path(name)
        for deb in debs or _download(folder):
            if not deb.is_file():
                raise FileNotFoundError(
                    f'{deb}: expected a package file of {" or ".join(PACKAGES)}.'
                )

            _call(['dpkg', '-x', str(deb.resolve()), str(folder / 'unpacked')], folder)

        yield folder / 'unpacked'


def _download(folder: Path) -> list[Path]:
    """Download both packages into a folder."""
    hint = 'Where the package lists are missing or old, `apt-get update` (as root) brings them.'
    _call(['apt-get', 'download', *PACKAGES], folder, hint)
    return sorted(folder.glob('*.deb'))


def _call(
    command: list[str],
    folder: Path,
    hint: str = '',
) -> None:
    """Run a Debian program; raise with its output if it fails."""
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(
            f'{command[0]} is missing: expected a Debian or Ubuntu system. Elsewhere, unpack the '
            f'packages {" and ".join(PACKAGES)} into one folder and name it with --unpacked.'
        )
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f'`{" ".join(command)}` failed: {done.stderr.strip()} {hint}'.strip())
