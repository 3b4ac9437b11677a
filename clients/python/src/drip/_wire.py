"""Connections: how they are opened, and the one that each thread keeps.

A connection belongs to the thread and the process that opened it. Threads never share one, and a
process that was forked off opens its own: two processes that wrote to one socket would mix their
requests.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
import threading
import urllib.request
import weakref
from base64 import b64encode
from typing import Dict, Optional, Tuple
from urllib.parse import SplitResult, unquote, urlsplit

__all__ = ["NotConnected", "Wire"]


class NotConnected(Exception):
    """No connection came about: nothing was sent."""


class _Kept:
    """A connection that closes when it is dropped, wherever that happens.

    A ``__del__`` would not do: when a cycle is collected, the socket's own may come before it.
    """

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection
        self.pid = os.getpid()
        weakref.finalize(self, connection.close)


class Wire:
    """Opens connections to one daemon, and keeps one open for each thread."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        connect_timeout: float,
        context: Optional[ssl.SSLContext],
        proxy: Optional[str],
    ) -> None:
        address = _split(url)
        self.prefix = address.path.rstrip("/")
        self._host = address.hostname or ""
        self._tls = address.scheme == "https"
        self._port = address.port or (443 if self._tls else 80)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._context = context
        self._proxy = _proxy_for(proxy, address)
        self._local = threading.local()
        # By identity, for `valuerefs` is one step: a lock would not survive a fork.
        self._open: "weakref.WeakValueDictionary[int, _Kept]" = weakref.WeakValueDictionary()

    def take(self) -> Tuple[http.client.HTTPConnection, bool]:
        """This thread's connection, and whether it was used before."""
        kept: Optional[_Kept] = getattr(self._local, "kept", None)
        if kept is not None and kept.pid == os.getpid() and _is_alive(kept.connection):
            return kept.connection, True
        self.drop()
        kept = _Kept(self.open(self._timeout))
        self._local.kept = kept
        self._open[id(kept)] = kept
        return kept.connection, False

    def drop(self) -> None:
        """Closes this thread's connection."""
        kept: Optional[_Kept] = getattr(self._local, "kept", None)
        self._local.kept = None
        if kept is not None:
            kept.connection.close()

    def close(self) -> None:
        """Closes the connections of every thread."""
        for reference in self._open.valuerefs():
            kept = reference()
            if kept is not None:
                kept.connection.close()

    def open(self, timeout: float) -> http.client.HTTPConnection:
        """A connection of its own; reading from it takes at most ``timeout`` seconds at a time."""
        connection = self._new()
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise NotConnected(str(error)) from error
        sock = connection.sock
        sock.settimeout(timeout)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection

    def target(self, path: str) -> Tuple[str, Dict[str, str]]:
        """What stands in the request line, and what else a proxy wants to see."""
        target = f"{self.prefix}{path}"
        if self._proxy is None or self._tls:
            return target, {}
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}{target}", _proxy_headers(self._proxy)

    def _new(self) -> http.client.HTTPConnection:
        near = (self._host, self._port)
        if self._proxy is not None:
            near = (self._proxy.hostname or "", self._proxy.port or 80)
        if not self._tls:
            return http.client.HTTPConnection(*near, timeout=self._connect_timeout)
        secure = http.client.HTTPSConnection(
            *near, timeout=self._connect_timeout, context=self._context
        )
        if self._proxy is not None:
            secure.set_tunnel(self._host, self._port, headers=_proxy_headers(self._proxy))
        return secure


def _split(url: str) -> SplitResult:
    """The parts of an address; one that is none is refused before anything is sent."""
    try:
        parts = urlsplit(url)
        is_plain = parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:
        is_plain = False
    if not is_plain or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"`{url}` is no address of a daemon: write http://127.0.0.1:22315")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a name and a password have no place in the address: give token=")
    return parts


def _proxy_for(proxy: Optional[str], address: SplitResult) -> Optional[SplitResult]:
    if proxy == "env":
        host = address.hostname or ""
        if urllib.request.proxy_bypass(host):
            return None
        proxy = urllib.request.getproxies().get(address.scheme)
    if not proxy:
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"`{proxy}` is no proxy that can be used: write http://host:port")
    return parts


def _proxy_headers(proxy: SplitResult) -> Dict[str, str]:
    if proxy.username is None:
        return {}
    credential = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(credential.encode()).decode('ascii')}"}


def _is_alive(connection: http.client.HTTPConnection) -> bool:
    """Whether a connection that waits for its next request is still there.

    Nothing may come unasked: what can be read is the end of it.
    """
    sock: Optional[socket.socket] = connection.sock
    if sock is None or sock.fileno() < 0:
        return False
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return not poll.poll(0)
    return not select.select([sock], [], [], 0)[0]
