"""A tiny server in the process of the tests, that answers as it is told and misbehaves on request."""

import contextlib
import json
import os
import socket
import struct
import sys
import threading
import unittest
from collections import deque

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))


class Request:
    """What came in, and over which connection."""

    def __init__(self, connection, method, target, headers, body):
        self.connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)


class Reply:
    """A whole answer."""

    def __init__(self, status=200, body=b"", headers=None, close=False, early=False):
        self.status = status
        self.body = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        self.headers = dict(headers or {})
        self.close = close
        # Answered before the body was read.
        self.early = early

    def bytes(self):
        lines = [f"HTTP/1.1 {self.status} Told"]
        headers = {"Content-Type": "application/json", **self.headers}
        if "Transfer-Encoding" not in headers:
            headers["Content-Length"] = str(len(self.body))
        if self.close:
            headers["Connection"] = "close"
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def problem(status, code, detail="why", errors=(), headers=None):
    """An answer as the daemon refuses."""
    body = {"type": f"urn:drip:problem:{code}", "title": "Title", "status": status}
    body.update(detail=detail, code=code, errors=[{"pointer": p, "detail": d} for p, d in errors])
    headers = {"Content-Type": "application/problem+json", **(headers or {})}
    return Reply(status, body, headers)


class Drop:
    """No answer: the connection ends, politely or by a reset, after these bytes."""

    def __init__(self, sent=b"", reset=False):
        self.sent = sent
        self.reset = reset


class Hang:
    """No answer and no end."""


def sse(*events, end=True):
    """A stream of events as chunks; one that does not ``end`` is left open."""
    chunks = [event.encode() for event in events]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    headers = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
    whole = Reply(200, body + (b"0\r\n\r\n" if end else b""), headers)
    return whole if end else Open(whole.bytes())


class Open:
    """These bytes, and then nothing more over a connection that stays."""

    def __init__(self, sent):
        self.sent = sent


class Stub:
    """The server. ``answers`` are given one by one; after them what ``otherwise`` says."""

    def __init__(self, *answers, otherwise=None, context=None):
        self.answers = deque(answers)
        self.otherwise = otherwise or (lambda request: Reply(200, {}))
        self.context = context
        self.requests = []
        self.connections = 0
        self.arrived = threading.Condition()
        self._sockets = []
        self._threads = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self):
        scheme = "https" if self.context else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.end_connections()
        for thread in list(self._threads):
            thread.join(10)

    def end_connections(self):
        """Ends every connection, as a daemon does that is restarted."""
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def wait_for(self, count):
        """Waits until so many requests have come."""
        with self.arrived:
            if not self.arrived.wait_for(lambda: len(self.requests) >= count, 10):
                raise AssertionError(f"{len(self.requests)} of {count} requests came")

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, sock, self.connections)

    def _serve(self, sock, number):
        self._sockets.append(sock)
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            # Closing either by hand leaves no warning behind.
            with sock, sock.makefile("rb") as reader:
                while self._one(sock, reader, number):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            sock.close()

    def _one(self, sock, reader, number):
        first = reader.readline().decode("latin-1").split()
        if len(first) != 3:
            return False
        headers = {}
        while True:
            line = reader.readline().decode("latin-1").strip()
            if not line:
                break
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        answer = self.answers.popleft() if self.answers else None
        is_early = isinstance(answer, Reply) and answer.early
        body = b"" if is_early else reader.read(int(headers.get("content-length", 0)))
        request = Request(number, first[0], first[1], headers, body)
        with self.arrived:
            self.requests.append(request)
            self.arrived.notify_all()
        return self._answer(sock, reader, answer or self.otherwise(request))

    def _answer(self, sock, reader, answer):
        if isinstance(answer, Reply):
            sock.sendall(answer.bytes())
            return not (answer.close or answer.early)
        if isinstance(answer, Drop):
            sock.sendall(answer.sent)
            if answer.reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        sock.sendall(getattr(answer, "sent", b""))
        reader.read(1)  # Until the other side is gone, or the stub is closed.
        return False


class Case(unittest.TestCase):
    """A test with a stub and a client of it, that waits for nothing."""

    def stub(self, *answers, **options):
        stub = Stub(*answers, **options)
        self.addCleanup(stub.close)
        return stub

    def client(self, stub, token="drip_test", **options):
        """A client, and the waits that it would have made, in ``client.waits``."""
        import drip

        client = drip.Fiche(stub.url, token, **options)
        self.addCleanup(client.close)
        waits = []
        client.connection._sleep = waits.append
        client.waits = waits
        return client
