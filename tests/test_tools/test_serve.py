"""The page as a process and in a real browser: upload, slider, result on the screen, what is served."""

import json
import os
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from tools_helpers import ROOT, SLICE, open_browser, start_tool

pytestmark = pytest.mark.slow  # starts processes

IMAGES = [
    str(SLICE / item['img_path'])
    for item in json.loads((SLICE / 'test.json').read_text())['data_list'][:2]
]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """The folder of temporary files of the page, beside a private file called an image."""
    folder = tmp_path_factory.mktemp('place')
    (folder / 'secret.png').write_text('password')
    return folder


def start_page(work_dir, place, *arguments):
    """Start the page, and return process and address once it answers."""
    pytest.importorskip('gradio', reason='gradio is not installed: the extra serve')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TMPDIR', str(place))
        process = start_tool('serve.py', work_dir, '--port', port, '--device', 'cpu', *arguments)

    url = f'http://127.0.0.1:{port}'
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            break
        except OSError:
            time.sleep(0.3)

    if process.poll() is not None:
        pytest.fail(process.communicate()[0][-3000:])
    return process, url


@pytest.fixture(scope='module')
def address(work_dir, place):
    examples = ('--examples', *IMAGES, place / 'secret.png')
    process, url = start_page(work_dir, place, '--max-images', 2, *examples)
    yield url
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert f'No example: Image {place}/secret.png' not in output  # its name alone is needed
    assert 'No example: Image secret.png cannot be decoded' in output
    assert list(place.glob('morn_page_*')) == []  # the page cleaned up


def test_listens_on_this_machine_alone(address):
    """127.0.0.2 is this machine too: a server on all addresses would answer there."""
    port = int(address.rsplit(':', 1)[1])
    assert b'gradio' in urllib.request.urlopen(address).read()
    with pytest.raises(OSError, match='refused'):
        socket.create_connection(('127.0.0.2', port), timeout=2)


def fetch(url):
    """Return status and content of an address."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_no_file_of_this_machine_is_served(address, place, work_dir):
    """Not even those that the examples were made of: a list of images is no permission."""
    paths = [
        *IMAGES,
        place / 'secret.png',
        SLICE / 'test.json',
        work_dir / 'epoch_1.pth',
        ROOT / 'setup.py',
    ]
    for path in map(str, paths):
        for route in ('file', 'gradio_api/file'):
            quoted = urllib.parse.quote(path)  # an address cannot hold a space
            for spelt in (quoted, urllib.parse.quote(path, safe=''), f'/proc/self/root{quoted}'):
                status, content = fetch(f'{address}/{route}={spelt}')
                assert status in (403, 404), (path, route)
                assert b'password' not in content


def test_a_path_in_place_of_an_upload_is_refused_and_stays(address, tmp_path):
    """Whoever speaks to the page without a browser may name any file: it is neither read nor deleted."""
    mine = tmp_path / 'mine.webp'
    mine.write_bytes(Path(IMAGES[0]).read_bytes())
    config = json.loads(fetch(f'{address}/config')[1])
    session = 'without_a_browser'
    uploads = [
        entry['id'] for entry in config['dependencies'] if entry['targets'][0][1] == 'upload'
    ]
    file = dict(path=str(mine), orig_name='mine.webp', meta=dict(_type='gradio.FileData'))
    body = dict(data=[[file]], fn_index=uploads[0], session_hash=session)
    request = urllib.request.Request(
        f'{address}/gradio_api/queue/join',
        json.dumps(body).encode(),
        {'Content-Type': 'application/json'},
    )
    with urllib.request.urlopen(request, timeout=20):
        pass
    events = fetch(f'{address}/gradio_api/queue/data?session_hash={session}')[1].decode()
    done = [json.loads(line[6:]) for line in events.splitlines() if 'process_completed' in line]
    assert [entry['success'] for entry in done] == [False]
    assert mine.is_file()


def test_examples_are_made_anew(address, place):
    """What is served of them is what was decoded: no byte of the files themselves."""
    (folder,) = place.glob('morn_page_*')
    files = [path for path in folder.rglob('*') if path.is_file() and path.stat().st_size]
    pictures = [path.read_bytes() for path in files]
    assert len([content for content in pictures if content.startswith(b'\x89PNG')]) >= 2
    assert not {Path(path).read_bytes() for path in IMAGES} & set(pictures)
    status, content = fetch(f'{address}/gradio_api/file={urllib.parse.quote(str(files[0]))}')
    assert status == 200
    assert content.startswith(b'\x89PNG')


@pytest.fixture(params=[1300, 400], ids=['wide', 'narrow'])
def browser(request, tmp_path):
    with open_browser(tmp_path / 'profile', request.param) as browser:
        yield browser
        if os.environ.get('SCREENSHOTS'):
            browser.save_screenshot(
                os.path.join(os.environ['SCREENSHOTS'], f'serve_{request.param}.png')
            )


def test_upload_slider_and_result_on_the_screen(browser, address, place):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, 60)
    browser.get(address)
    field = wait.until(
        lambda driver: driver.find_element(By.CSS_SELECTOR, '#files input[type=file]')
    )
    field.send_keys('\n'.join([*IMAGES, IMAGES[0]]))
    table = lambda: browser.find_element(By.ID, 'labels').text
    wait.until(
        lambda driver: all(os.path.basename(path) in table().replace('\n', '') for path in IMAGES)
    )
    wait.until(lambda driver: len(driver.find_elements(By.CSS_SELECTOR, '#pictures img')) == 2)
    wait.until(
        lambda driver: '3 images were dropped' in driver.find_element(By.ID, 'complaints').text
    )
    before = table()
    number = browser.find_element(By.CSS_SELECTOR, '#threshold input[type=range]')
    for _ in range(50):
        number.send_keys(Keys.ARROW_RIGHT)

    browser.execute_script(
        'arguments[0].dispatchEvent(new PointerEvent("pointerup", {bubbles: true}))', number
    )
    wait.until(lambda driver: '(none)' in table())
    assert '(none)' not in before
    cards = browser.find_elements(By.CSS_SELECTOR, '#pictures .steps table')
    room = browser.execute_script('return document.documentElement.clientWidth')
    assert len(cards) == 2
    assert all(
        card.rect['x'] >= 0 and card.rect['x'] + card.rect['width'] <= room for card in cards
    )
    (folder,) = place.glob('morn_page_*')
    left = [path.name for path in folder.rglob('*.webp')]
    assert left == []  # the uploads are gone
    wide = browser.execute_script('return document.documentElement.scrollWidth - window.innerWidth')
    assert wide <= 1  # the page itself never scrolls sideways
    requests = [json.loads(entry['message'])['message'] for entry in browser.get_log('performance')]
    urls = [
        message['params']['request']['url']
        for message in requests
        if message['method'] == 'Network.requestWillBeSent'
    ]
    foreign = [url for url in urls if not url.startswith((address, 'data:', 'blob:', 'chrome'))]
    assert urls
    assert not foreign


def test_an_example_is_shown_at_a_click(address, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    with open_browser(tmp_path / 'profile') as browser:
        wait = WebDriverWait(browser, 60)
        browser.get(address)
        thumbnails = wait.until(
            lambda driver: driver.find_elements(By.CSS_SELECTOR, '#examples .thumbnail-item')
        )
        assert len(thumbnails) == 2
        thumbnails[1].click()
        name = os.path.basename(IMAGES[1])
        wait.until(lambda driver: name in driver.find_element(By.ID, 'pictures').text)
        assert os.path.basename(IMAGES[0]) not in browser.find_element(By.ID, 'pictures').text
