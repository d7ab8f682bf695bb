"""URLs are fetched through one door: so many bytes, so many seconds, no address within."""

import http.server
import threading
import time
from contextlib import contextmanager

import pytest

from morn_plugin.deploy.image_formats import ImageError
from morn_plugin.deploy.image_streams import ListedUrl
from morn_plugin.deploy.urls import fetch, is_public

BODY = bytes(range(256)) * 40


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/slow':
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(100):
                    self.wfile.write(b'.')
                    time.sleep(0.05)
            except OSError:
                pass
        elif self.path.startswith('/to?'):
            self.send_response(302)
            self.send_header('Location', self.path[4:])
            self.end_headers()
        elif self.path == '/body':
            self.send_response(200)
            self.end_headers()
            self.wfile.write(BODY)
        else:
            self.send_error(404)

    def log_message(self, *args):
        pass


@contextmanager
def serve(handler):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope='module')
def root():
    with serve(Handler) as address:
        yield address


def test_an_own_url_is_read_up_to_a_bound(root):
    assert fetch(f'{root}/body', 20_000, is_own=True) == BODY
    assert fetch(f'{root}/body', 1000, is_own=True) == BODY[:1000]
    with pytest.raises(ImageError, match='/none cannot be fetched: the server answers 404'):
        fetch(f'{root}/none', 100, is_own=True)


def test_a_slow_server_is_left_in_time(root):
    start = time.monotonic()
    with pytest.raises(ImageError, match=r'it took more than 0\.3 seconds'):
        fetch(f'{root}/slow', 1000, is_own=True, timeout=0.3)
    assert time.monotonic() - start < 3


def test_the_url_of_a_stranger_leads_to_no_private_address(root):
    with pytest.raises(ImageError, match=r'127\.0\.0\.1, an address that is not public'):
        fetch(f'{root}/body', 100)
    with pytest.raises(ImageError, match='not public'):
        fetch(root.replace('127.0.0.1', 'localhost') + '/body', 100)
    assert fetch(f'{root}/body', 100, allow_private=True) == BODY[:100]
    with pytest.raises(ImageError, match='--allow-private'):
        ListedUrl(f'{root}/body').read(100)
    assert ListedUrl(f'{root}/body', allow_private=True).read(100) == BODY[:100]


def test_a_redirect_is_looked_at_as_the_url_is(root):
    """An own URL opens its own host; where that sends one on is a stranger's word."""
    elsewhere = root.replace('127.0.0.1', 'localhost')
    assert fetch(f'{root}/to?{root}/body', 100, is_own=True) == BODY[:100]
    with pytest.raises(ImageError, match=r'localhost is .*not public'):
        fetch(f'{root}/to?{elsewhere}/body', 100, is_own=True)
    for url in ('file:///etc/passwd', 'ftp://127.0.0.1/a'):
        with pytest.raises(ImageError, match='cannot be fetched'):
            fetch(f'{root}/to?{url}', 100, is_own=True)


@pytest.mark.parametrize(
    'url', ['file:///etc/passwd', 'ftp://example.org/a.jpg', 'data:,a', '/etc']
)
def test_other_schemes_are_refused(url):
    with pytest.raises(ImageError, match='expected a URL that begins with http'):
        fetch(url, 100, is_own=True)


@pytest.mark.parametrize(
    'address',
    [
        '127.0.0.1',
        '10.1.2.3',
        '172.16.0.1',
        '192.168.1.1',
        '169.254.169.254',
        '0.0.0.0',
        '100.64.0.1',
        '224.0.0.1',
        '::1',
        'fe80::1%eth0',
        'fd00::1',
        '::ffff:10.0.0.1',
        '2002:7f00:1::',
    ],
)
def test_no_private_address_is_public(address):
    assert not is_public(address)
