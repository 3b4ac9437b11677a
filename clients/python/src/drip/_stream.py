"""An answer that is read as it comes, line by line."""

from __future__ import annotations

import http.client
import socket
from typing import Callable, Iterator

from .errors import DripError, Unavailable

__all__ = ["Opened", "Streamed", "is_timeout", "why"]

#: Who is told of the socket of a stream before anything is sent.
Opened = Callable[[socket.socket], None]

#: How much is read at a time.
_PIECE = 1 << 16
#: The longest line; a card has at most 1 MiB.
_LINE_MAX = 64 << 20


class Streamed:
    """An answer that is still coming, over a connection of its own. Close it, or use ``with``."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        url: str,
    ) -> None:
        self._connection = connection
        self._response = response
        self._url = url

    def lines(self) -> Iterator[bytes]:
        """The lines as they come, each with its line feed; the last one may lack it."""
        waiting = bytearray()
        for piece in self._pieces():
            looked_at = len(waiting)
            waiting += piece
            begin = 0
            end = waiting.find(b"\n", looked_at)
            while end >= 0:
                yield bytes(waiting[begin : end + 1])
                begin = end + 1
                end = waiting.find(b"\n", begin)
            del waiting[:begin]
            if len(waiting) > _LINE_MAX:
                raise DripError(f"{self._url}: a line is too long to be read", code="bad_answer")
        if waiting:
            yield bytes(waiting)

    def _pieces(self) -> Iterator[bytes]:
        length = self._response.length
        left = length if length is not None and not self._response.chunked else None
        try:
            while left is None or left > 0:
                if left is None:
                    piece = self._response.read1(_PIECE)
                else:
                    piece = self._response.read(min(left, _PIECE))
                    left -= len(piece)
                if piece:
                    yield piece
                elif left:
                    raise http.client.IncompleteRead(b"", left)
                else:
                    return
        except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
            # What another thread closed while it was read from shows itself in several ways.
            raise Unavailable(
                f"{self._url}: the answer was cut off: {why(error)}", code="connection_lost"
            ) from error

    def close(self) -> None:
        """Closes the connection, however much of the answer was read."""
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Streamed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_timeout(error: Exception) -> bool:
    """Whether it took too long."""
    # `socket.timeout` is `TimeoutError` from Python 3.10 on, and an `OSError` of its own before.
    return isinstance(error, TimeoutError) or type(error).__name__ == "timeout"


def why(error: Exception) -> str:
    """What became of a connection, for people."""
    if is_timeout(error):
        return "no answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended in the middle"
    return str(error) or type(error).__name__
