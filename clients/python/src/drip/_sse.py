"""Server-sent events, and going on with them after the connection was lost."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Callable, Iterable, Iterator, List, NamedTuple, Optional

from ._retry import is_passing, wait_before
from ._stream import Opened, Streamed
from .errors import DripError, Unavailable

__all__ = ["Event", "Following", "events"]

#: The first wait before a stream is opened again, in seconds, and the longest.
_WAITS = (0.25, 30.0)


class Event(NamedTuple):
    """One event. One without data tells how far the stream is, and nothing else."""

    name: str
    data: str
    #: What to send as ``Last-Event-ID``; ``None`` when the event names none.
    id: Optional[str]


def events(lines: Iterable[bytes]) -> Iterator[Event]:
    """Reads events from lines. An event that is cut off by the end is none."""
    name, last_id = "", None
    data: List[str] = []
    is_first = True
    for raw in lines:
        if not raw.endswith(b"\n"):
            return
        line = raw.rstrip(b"\r\n").decode("utf-8", "replace")
        if is_first:
            line, is_first = line.lstrip("\ufeff"), False
        if not line:
            if data or last_id is not None:
                yield Event(name or "message", "\n".join(data), last_id)
            name, data, last_id = "", [], None
            continue
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id" and "\0" not in value:
            last_id = value


class Following:
    """Events without an end. What was missed while the connection was lost is asked for again.

    :param open: opens the stream after the event of the given id, and tells of its socket
    :param last_id: the id of the last event that was seen
    :param patience: how many seconds no daemon may answer before that is raised; ``None`` for ever
    """

    def __init__(
        self,
        open: Callable[[Optional[str], Opened], Streamed],
        last_id: Optional[str],
        patience: Optional[float],
    ) -> None:
        self._open = open
        self._patience = patience
        self._sock: Optional[socket.socket] = None
        self._closed = threading.Event()
        self._events = self._all()
        #: The id of the last event that was seen.
        self.last_id = last_id

    def __iter__(self) -> Following:
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def close(self) -> None:
        """Ends it, also from another thread: whoever waits for the next event is woken up."""
        self._closed.set()
        self._interrupt()

    def _all(self) -> Iterator[Event]:
        lost_at: Optional[float] = None
        tries = 0
        while not self._closed.is_set():
            try:
                for event in self._one_connection():
                    # Something came: whatever was wrong is over.
                    lost_at, tries = None, 0
                    if event.data:
                        yield event
                failed: DripError = Unavailable("the daemon ended the stream", code="stream_ended")
            except DripError as error:
                failed = error
            if self._closed.is_set():
                return
            # A gateway that waited for too long for the next event says 504.
            if not is_passing(failed) and failed.status != 504:
                raise failed
            lost_at = time.monotonic() if lost_at is None else lost_at
            wait = wait_before(tries, _WAITS, failed)
            if self._patience is not None:
                left = lost_at + self._patience - time.monotonic()
                if left <= 0:
                    raise failed
                wait = min(wait, left)
            tries += 1
            self._closed.wait(wait)

    def _one_connection(self) -> Iterator[Event]:
        try:
            with self._open(self.last_id, self._opened) as streamed:
                for event in events(streamed.lines()):
                    if event.id is not None:
                        self.last_id = event.id
                    yield event
        finally:
            self._sock = None

    def _opened(self, sock: socket.socket) -> None:
        self._sock = sock
        # It may have been closed while this connection came about.
        if self._closed.is_set():
            self._interrupt()

    def _interrupt(self) -> None:
        sock = self._sock
        if sock is not None:
            # One that is over already has nobody to wake.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
