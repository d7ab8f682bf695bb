"""The only way to fetch URLs: ``http(s)`` only, limited bytes and seconds, public addresses only.

A URL in a list that a stranger made runs on this machine's network: ``http://169.254.169.254/``
hands out the credentials of a cloud machine, ``http://192.168.0.1/`` is the router. So an address
that is not public is connected to only where the user named that host. The address of the
connection itself is checked, after every redirect, not an earlier lookup of the name.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from .image_formats import ImageError

SCHEMES = ('http', 'https')
TIMEOUT = 30.0  # seconds, for all of a URL, redirects included
BLOCK = 1 << 16


class PrivateAddressError(OSError):
    """A URL leads to an address that is not public."""


def is_web_url(text: str) -> bool:
    """Return whether a text is a URL that can be fetched.

    Examples:
        >>> is_web_url('HTTPS://example.org/a.jpg'), is_web_url('file:///etc/passwd')
        (True, False)
    """
    return text.lower().startswith(('http://', 'https://'))


def fetch(
    url: str,
    max_bytes: int,
    is_own: bool = False,
    allow_private: bool = False,
    timeout: float = TIMEOUT,
) -> bytes:
    """Fetch what a URL names.

    Args:
        url: Begins with ``http://`` or ``https://``.
        max_bytes: Read at most this many; an image with more is refused.
        is_own: Whether the user named the URL: its host may then be on the private network, and
            the system's proxy is used. Otherwise every address must be public.
        allow_private: Whether that may be any host, also behind a redirect.
        timeout: Seconds that all of it may take.

    Raises:
        ImageError: If the scheme is not http or https, the address is private, or it cannot be
            fetched in time; names the URL.
    """
    if not is_web_url(url):
        raise ImageError(
            f'Image {url} cannot be fetched: expected a URL that begins with http:// or https://.'
        )

    deadline = _Deadline(timeout)
    try:
        with deadline.running():
            content = _read(_opener(url, is_own, allow_private, deadline), url, max_bytes, timeout)
        if deadline.is_over:  # a connection that was cut looks like one that ended
            raise TimeoutError

        return content
    except Exception as error:  # http.client and ssl have kinds of their own
        reason = _explain(error, deadline, timeout)
        raise ImageError(f'Image {url} cannot be fetched: {reason}.') from error


def _read(
    opener: Any,
    url: str,
    max_bytes: int,
    timeout: float,
) -> bytes:
    blocks: list[bytes] = []
    left = max_bytes
    with opener.open(url, timeout=timeout) as answer:
        while left > 0 and (block := answer.read(min(BLOCK, left))):
            blocks.append(block)
            left -= len(block)
    return b''.join(blocks)


def _explain(error: Exception, deadline: '_Deadline', timeout: float) -> str:
    if deadline.is_over:
        return f'it took more than {timeout:g} seconds'
    if isinstance(error, urllib.error.HTTPError):
        return f'the server answers {error.code} {error.reason}'
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(inner).rstrip('.') or type(inner).__name__


class _Deadline:
    """Cuts the connections of a fetch when its time is up."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds
        self.is_over = False
        self._sockets: list[socket.socket] = []

    @property
    def left(self) -> float:
        """Seconds that are left, a little at least."""
        return max(self.end - time.monotonic(), 0.01)

    def watch(self, connection: socket.socket) -> None:
        """Cut this one too."""
        self._sockets.append(connection)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Cut what is open if the block takes longer."""
        timer = threading.Timer(self.seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        self.is_over = True
        for connection in self._sockets:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is closed
                continue


def _opener(
    url: str, is_own: bool, allow_private: bool, deadline: _Deadline
) -> urllib.request.OpenerDirector:
    """Build the opener of a URL, which follows no redirect to another scheme."""
    proxies = urllib.request.getproxies() if is_own else {}
    named = [url, *proxies.values()] if is_own else []
    own_hosts = {urlsplit(item).hostname for item in named}

    def connect(host: str, port: int) -> socket.socket:
        may_be_private = allow_private or host.lower() in own_hosts
        connection = _connect(host, port, may_be_private, deadline)
        deadline.watch(connection)
        return connection

    opener = urllib.request.OpenerDirector()
    for handler in (
        *([urllib.request.ProxyHandler(proxies)] if proxies else []),
        _HTTPHandler(connect),
        _HTTPSHandler(connect),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)

    return opener


def _connect(
    host: str,
    port: int,
    may_be_private: bool,
    deadline: _Deadline,
) -> socket.socket:
    """Connect to the first address of a host that answers."""
    problem: OSError = OSError(f'{host} has no address')
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        if not may_be_private and not is_public(str(address[0])):
            raise PrivateAddressError(
                f'{host} is {address[0]}, an address that is not public. Allow it '
                '(--allow-private) if you trust whoever wrote the URL'
            )

        connection = socket.socket(family, kind, protocol)
        connection.settimeout(deadline.left)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            problem = error
        else:
            return connection

    raise problem


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public Internet.

    Examples:
        >>> [is_public(text) for text in ('8.8.8.8', '10.0.0.1', '::ffff:127.0.0.1', '224.0.0.1')]
        [True, False, False, False]
    """
    found = ipaddress.ip_address(address.split('%')[0])
    inner = getattr(found, 'ipv4_mapped', None) or getattr(found, 'sixtofour', None) or found
    return inner.is_global and not inner.is_multicast


class _HTTPConnection(http.client.HTTPConnection):
    """A connection whose socket comes from ``open_socket``."""

    open_socket: Any = None

    def connect(self) -> None:
        self.sock = self.open_socket(self.host, self.port)
        self._tunnel_if_wanted()

    def _tunnel_if_wanted(self) -> None:
        if getattr(self, '_tunnel_host', None):
            self._tunnel()  # type: ignore[attr-defined]


class _HTTPSConnection(_HTTPConnection):
    """The same, over TLS."""

    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        super().connect()
        name = getattr(self, '_tunnel_host', None) or self.host
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=name)


class _HTTPHandler(urllib.request.HTTPHandler):
    connection: type[_HTTPConnection] = _HTTPConnection

    def __init__(self, connect: Any) -> None:
        super().__init__()
        self._connect = connect

    def _build(self, host: str, **options: Any) -> _HTTPConnection:
        connection = self.connection(host, **options)
        connection.open_socket = self._connect
        return connection

    def http_open(self, request: Any) -> Any:
        return self.do_open(self._build, request)


class _HTTPSHandler(_HTTPHandler):
    connection = _HTTPSConnection

    https_request = urllib.request.AbstractHTTPHandler.do_request_

    def http_open(self, request: Any) -> Any:
        """Leave plain URLs to the other handler."""
        return None

    def https_open(self, request: Any) -> Any:
        return self.do_open(self._build, request)
