"""The commands and the code of docs, run as they stand, and the links of every page."""

import os
import re
import shlex
import socket
import sys
import time
from urllib.parse import unquote

import mmpretrain.registry
import pytest
from mmengine.registry import Registry
from tools_helpers import ROOT, SLICE, load_tool, write_config
from warm_start import WarmProcess

RUNNABLE = re.compile(r'^```(bash|python)\n(.*?)^```', flags=re.M | re.S)
PAGES = [
    path
    for path in sorted((ROOT / 'docs').rglob('*.md'))
    if RUNNABLE.search(path.read_text(encoding='utf-8'))
]
#: A block of Python whose first line is such a comment is a file to save.
FILE_NAME = re.compile(r'# (\w+\.py)\n')
MORN = 'from morn_plugin.cli import main; main()\n'  # as the command that pip installs
NEEDS = dict(
    report=('networkx',),
    export=('onnx', 'onnxruntime', 'onnxscript'),
    serve=('gradio',),
    benchmark_page=('statsmodels',),
)
MARKDOWN = sorted(
    path
    for pattern in ('*.md', 'configs/**/*.md', 'docs/**/*.md', 'tests/data/*/*.md')
    for path in ROOT.glob(pattern)
)
CODE = re.compile(r'^```.*?^```|^ {4,}.*?$|`[^`\n]*`', flags=re.M | re.S)
LINK = re.compile(r'\]\(([^)\s]+)\)')
HEADING = re.compile(r'^#+ +(.*)$', flags=re.M)


def name_of(page):
    return page.relative_to(ROOT / 'docs').with_suffix('').as_posix()


@pytest.fixture(scope='module')
def place(work_dir, tmp_path_factory):
    """A folder in which the commands find what they name."""
    folder = tmp_path_factory.mktemp('docs')
    for name in ('configs', 'tools'):
        (folder / name).symlink_to(ROOT / name)

    (folder / 'photos').symlink_to(SLICE / 'images' / 'animals' / 'bugs')
    (folder / 'work_dirs').mkdir()
    (folder / 'work_dirs' / 'morn').symlink_to(work_dir)
    write_config(folder / 'work_dirs' / 'morn.py')
    (folder / 'morn').write_text(MORN)
    return folder


@pytest.fixture
def inside(place, monkeypatch):
    """Run Python's code in that folder, and leave the registries as they were."""
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    before = set(sys.modules)
    yield place
    own = {
        name
        for name in set(sys.modules) - before
        if str(place) in str(getattr(sys.modules[name], '__file__', None))
    }

    for registry in vars(mmpretrain.registry).values():
        registered = registry.module_dict if isinstance(registry, Registry) else {}
        for name in [key for key, each in registered.items() if each.__module__ in own]:
            del registered[name]

    for name in own:
        del sys.modules[name]


def start(line, place):
    """Start a command of a page: ``[NAME=VALUE] python FILE ...``, or ``morn ...``."""
    words = shlex.split(line)
    environment = dict(os.environ, OMP_NUM_THREADS='1')
    while '=' in words[0]:
        name, _, value = words.pop(0).partition('=')
        environment[name] = value

    if words[0] == 'python':
        words.pop(0)
    program, *arguments = words
    return WarmProcess(place / program, arguments, place, environment)


def run_command(line, place, port):
    process = start(line, place)
    if 'tools/serve.py' in line:
        wait_for(process, f'Serving on http://127.0.0.1:{port}')
        return
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, f'{line}\n{output[-3000:]}'


def run_python(code, names, place):
    """Run a block of Python, or write the file that it is."""
    is_file = FILE_NAME.match(code)
    if is_file:
        (place / is_file[1]).write_text(code, encoding='utf-8')
    else:
        exec(compile(code, 'a block of the page', 'exec'), names)


@pytest.mark.slow
@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_page(page, inside):
    for module in NEEDS.get(page.stem, ()):
        pytest.importorskip(module)

    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])

    text = page.read_text(encoding='utf-8').replace('7865', port)
    blocks = RUNNABLE.findall(text)
    names = dict(__name__='page')  # the blocks of a page see what those above them made
    for kind, code in blocks:
        if kind == 'python':
            run_python(code, names, inside)
            continue

        for line in code.replace('\\\n', ' ').splitlines():
            run_command(line, inside, port)

    run = '\n'.join(code for _, code in blocks)
    for name in re.findall(r'--(?:out|plot) (\S+)', run):
        assert (inside / name).stat().st_size > 100


def wait_for(process, line):
    deadline = time.monotonic() + 100
    try:
        while time.monotonic() < deadline:
            said = process.stdout.readline()
            if line in said:
                return

            assert said or process.poll() is None, 'the server ended'

        pytest.fail(f'{line!r} never came')
    finally:
        process.kill()
        process.communicate()


def anchors_of(path):
    """Return the anchors that GitHub makes of a page's headings."""
    text = re.sub(r'^```.*?^```', '', path.read_text(encoding='utf-8'), flags=re.M | re.S)
    found = set()
    for title in HEADING.findall(text):
        shown = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', title).lower()
        slug = re.sub(r'[^\w\- ]', '', shown).strip().replace(' ', '-')
        copies = sum(1 for other in found if re.fullmatch(re.escape(slug) + r'(-\d+)?', other))
        found.add(f'{slug}-{copies}' if copies else slug)
    return found


def links_of(path):
    """Return the links of a page that lead to something of this repository."""
    text = CODE.sub('', path.read_text(encoding='utf-8'))
    return [link for link in LINK.findall(text) if not re.match(r'[a-z]+:', link)]


@pytest.mark.parametrize('page', MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in links_of(page):
        file, _, anchor = unquote(link).partition('#')
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f'{link}: there is no such file'
        if anchor and target.suffix == '.md':
            assert anchor in anchors_of(target), f'{link}: there is no such heading'


def test_a_wrong_link_would_be_found(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('# A title, twice\n\n[a](page.md#a-title-twice) [b](gone.md)\n')
    assert links_of(page) == ['page.md#a-title-twice', 'gone.md']
    assert anchors_of(page) == {'a-title-twice'}
    with pytest.raises(AssertionError, match=r'gone\.md: there is no such file'):
        test_links_lead_somewhere(page)


def test_every_page_is_linked_from_the_index():
    index = ROOT / 'docs' / 'README.md'
    linked = {(index.parent / link.partition('#')[0]).resolve() for link in links_of(index)}
    pages = {path for path in (ROOT / 'docs').rglob('*.md') if path != index}
    assert pages <= linked
    assert 'docs/README.md' in links_of(ROOT / 'README.md')


def test_no_row_of_a_table_is_all_dashes():
    for page in MARKDOWN:
        for line in page.read_text(encoding='utf-8').splitlines():
            cells = [cell.strip() for cell in line.strip('|').split('|')]
            pairs = [cell for cell in cells if re.fullmatch(r'[\d.]+ / [\d.]+', cell)]
            figures = cells[3:] if line.startswith('| ') and not pairs else []
            assert len(figures) < 2 or set(figures) != {'-'}, f'{page}: {line}'


def commands_of(path):
    """Return the command lines of a page that start a Python tool of the repository, in words."""
    text = path.read_text(encoding='utf-8').replace('\\\n', ' ').replace('$split', 'val')
    found = []
    for line in re.findall(r'^ *(?:PYTHONPATH=\. )?python (tools/\S+\.py\b.*)$', text, flags=re.M):
        words = shlex.split(line, comments=True)
        if not {'...', 'ARGS'} & set(words):
            found.append(words)
    return found


def test_tools_take_the_arguments_that_the_pages_name(monkeypatch, capsys):
    number = 0
    for page in MARKDOWN:
        for file, *arguments in commands_of(page):
            path = ROOT / file
            assert path.is_file(), f'{page.name}: {file}'
            tool = load_tool(path)
            if not hasattr(tool, 'parse_args'):  # a converter: what it takes is shared code's
                continue

            monkeypatch.setattr(sys, 'argv', [file, *arguments])
            try:
                tool.parse_args()
            except SystemExit as stop:
                pytest.fail(f'{page.name}: {file} {arguments}: {stop} {capsys.readouterr().err}')

            number += 1

    assert number > 30
