"""The page in a real browser: upload, slider, result on the screen; and what needs no browser."""

import json
import os
import re
import runpy
import socket
import time
import urllib.request

import pytest
from PIL import Image
from tools_helpers import ROOT, SLICE, open_browser, start_tool

from morn_plugin.apis import MultiLabelInferencer

serve = runpy.run_path(str(ROOT / 'tools' / 'serve.py'))
IMAGES = [
    str(SLICE / item['img_path'])
    for item in json.loads((SLICE / 'test.json').read_text())['data_list'][:2]
]


def test_uploads_are_limited_and_broken_ones_named(tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'x')
    (tmp_path / 'big.png').write_bytes(b'x' * 1_000_001)
    files = [IMAGES[0], str(tmp_path / 'bad.png'), str(tmp_path / 'big.png'), *IMAGES[:2]]
    images, names, complaints = serve['read_uploads'](files, max_images=4, max_megabytes=1)
    assert names == [os.path.basename(IMAGES[0])] * 2
    assert images[0].shape[2] == 3
    assert re.search(
        '5 images were dropped; the first 4.*bad.png cannot be decoded.*big.png is larger than 1 '
        'MB',
        ' '.join(complaints),
    )
    Image.new('1', (8000, 8000)).save(tmp_path / 'many.png')  # 64 million pixels in a few kilobytes
    assert 'pixels' in serve['read_uploads']([str(tmp_path / 'many.png')], 1, 1)[2][0]


def test_table_and_pictures_follow_the_threshold(work_dir):
    inferencer = MultiLabelInferencer(work_dir, device='cpu')
    found, complaints = serve['predict'](inferencer, dict(max_images=4, max_megabytes=1), IMAGES)
    assert complaints == ''
    counts = []
    for thr in (0.0, 0.5, 1.0):
        rows, pictures = serve['show'](inferencer.classes, thr, found)
        assert [row[0] for row in rows] == [os.path.basename(path) for path in IMAGES]
        assert pictures.count('src="data:image/png;base64,') == 2
        counts.append(0 if rows[0][1] == '(none)' else rows[0][1].count(',') + 1)
    assert counts[0] > counts[1] > counts[2] == 0
    assert serve['predict'](inferencer, dict(max_images=4, max_megabytes=1), None) == ([], '')


@pytest.fixture(scope='module')
def address(work_dir):
    pytest.importorskip('gradio', reason='gradio is not installed: the extra serve')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    process = start_tool('serve.py', work_dir, '--port', port, '--max-images', 2, '--device', 'cpu')
    url, deadline = f'http://127.0.0.1:{port}', time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            break
        except OSError:
            time.sleep(0.3)
    if process.poll() is not None:
        pytest.fail(process.communicate()[0][-3000:])
    yield url
    process.kill()
    process.communicate()


def test_listens_on_this_machine_alone(address):
    """127.0.0.2 is this machine too: a server on all addresses would answer there."""
    port = int(address.rsplit(':', 1)[1])
    assert b'gradio' in urllib.request.urlopen(address).read()
    with pytest.raises(OSError, match='refused'):
        socket.create_connection(('127.0.0.2', port), timeout=2)


@pytest.fixture(params=[1300, 400], ids=['wide', 'narrow'])
def browser(request, tmp_path):
    with open_browser(tmp_path / 'profile', request.param) as browser:
        yield browser
        if os.environ.get('SCREENSHOTS'):
            browser.save_screenshot(
                os.path.join(os.environ['SCREENSHOTS'], f'serve_{request.param}.png')
            )


def test_upload_slider_and_result_on_the_screen(browser, address):
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
