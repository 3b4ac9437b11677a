"""The change feed: every save, move and deletion of a card, numbered without gaps."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Dict, Iterable, Iterator, Optional, Type

from ._body import Query
from ._http import Connection
from ._sse import Following
from ._stream import Opened, Streamed
from .errors import DripError
from .records import Change

__all__ = ["ChangeStream", "Changes"]


class Changes:
    """The change feed of a daemon: ``fiche.changes``.

    Call it for the changes that there are; :meth:`stream` goes on with those to come.
    """

    def __init__(self, http: Connection) -> None:
        self._http = http

    def __call__(
        self, after: int = 0, *, limit: Optional[int] = None, page: int = 200
    ) -> Iterator[Change]:
        """The changes after number ``after``, in order, read page by page.

        :param limit: at most so many
        :param page: how many to ask for at a time, at most 1000
        """
        query = [("after", after)]
        items = self._http.pages("/api/v1/changes", query, limit=limit, page=page)
        return (Change(item) for item in items)

    def stream(
        self,
        after: Optional[int] = None,
        *,
        kinds: Iterable[str] = (),
        events: Iterable[str] = (),
        names: Iterable[str] = (),
        stages: Iterable[str] = (),
        silence: float = 45.0,
        patience: Optional[float] = None,
    ) -> ChangeStream:
        """The changes after number ``after``, and those to come, as soon as they are made.

        It has no end. When the connection is lost it is opened again, and goes on after the last change
        that was seen: none is missed, none comes twice. Keep the ``number`` of the last change that you
        dealt with to go on after a restart of your own.

        :param after: begin after this number; with what comes next unless told
        :param kinds: only cards of these kinds; all unless told, here and below
        :param events: only these of ``card.saved``, ``card.deleted``, ``card.staged``
        :param names: only cards whose names fit one of these patterns, such as ``wind-*``
        :param stages: only cards that are in one of these stages after the change
        :param silence: after so many seconds without a sign of life the connection counts as lost;
            the daemon gives one every 15
        :param patience: how many seconds no daemon may answer before ``drip.Unavailable`` is raised;
            it is waited for without an end unless told
        """
        lists = {"kinds": kinds, "events": events, "names": names, "stages": stages}
        query = [(name, ",".join(words) or None) for name, words in lists.items()]
        return ChangeStream(self._http, query, after, silence, patience)


class ChangeStream:
    """Changes as they come. Close it, from any thread, or use ``with``."""

    def __init__(
        self,
        http: Connection,
        query: Query,
        after: Optional[int],
        silence: float,
        patience: Optional[float],
    ) -> None:
        self._http = http
        self._query = query
        self._silence = silence
        last_id = None if after is None else str(after)
        self._following = Following(self._open, last_id, patience)
        self._seen = -1 if after is None else after

    def __iter__(self) -> ChangeStream:
        return self

    def __next__(self) -> Change:
        """Waits for the next change.

        :raises drip.Unauthorized: the token is no longer valid
        :raises drip.Unavailable: no daemon answers, and ``patience`` is at its end
        """
        for event in self._following:
            try:
                change = Change(json.loads(event.data))
            except (ValueError, TypeError) as error:
                raise DripError(f"an event is no change: {error}", code="bad_answer") from error
            if change.number > self._seen:
                self._seen = change.number
                return change
        raise StopIteration

    @property
    def last_number(self) -> Optional[int]:
        """The number after which the stream goes on, as far as it is known."""
        last = self._following.last_id
        return int(last) if last is not None and last.isdigit() else None

    def close(self) -> None:
        """Ends it: whoever waits for the next change is told that there is none."""
        self._following.close()

    def __enter__(self) -> ChangeStream:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def _open(self, last_id: Optional[str], opened: Opened) -> Streamed:
        headers: Dict[str, str] = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        path = "/api/v1/changes/stream"
        return self._http.stream(path, self._query, headers, timeout=self._silence, opened=opened)
