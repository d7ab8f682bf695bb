#!/usr/bin/env bash
# Make a virtual environment with the tested versions: tools/make_env.sh VENV. The Makefile calls it.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=$1
PYTHON=${PYTHON:-python3}

# Debian and Ubuntu keep Python's venv in a package of its own.
make_venv() { rm -rf "$VENV" && "$PYTHON" -m venv "$VENV"; }
if ! make_venv; then
    version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "Python's venv module is not complete; trying to install python$version-venv with apt-get." >&2
    sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update && $sudo apt-get install -y "python$version-venv" && make_venv || {
        echo "Could not make a virtual environment. Install python$version-venv and try again." >&2; exit 1; }
fi
pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@"; }

pip install --upgrade pip
pip install -c constraints.txt 'setuptools>=77.0.3,<82' wheel
pip install -c constraints.txt --no-build-isolation -e '.[all]'
# opencv-python needs the graphics libraries of a desktop; the same version without windows does not.
opencv=$(pip list --format=freeze | sed -n 's/^opencv-python==//p')
if [ -n "$opencv" ]; then
    pip uninstall -y opencv-python
    pip install --no-deps --force-reinstall "opencv-python-headless==$opencv"
fi
