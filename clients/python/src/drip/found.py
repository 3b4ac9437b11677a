"""What a search found, and what it may be asked for."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Union

from ._http import Connection
from .records import Hit

__all__ = ["Found", "Label", "When", "filters"]

#: ``{"site": "XJJX"}``, ``"site:XJJX"``, or several of the latter.
Label = Union[None, str, Mapping[str, str], Iterable[str]]

#: A moment: a ``datetime``, a ``date`` (its first moment in UTC), or a text such as ``"2026-03-01T06:00:00Z"``.
When = Union[None, str, date]

#: Parameters, those that are not given among them.
_Pairs = List[Tuple[str, Optional[str]]]


class Found:
    """What a search found. It iterates over the hits of all pages, asking for them as it goes."""

    #: The hits of the first page.
    items: List[Hit]
    #: How many there are in all.
    total: int
    #: How many there are of each kind and in each stage: ``{"kind": {"model": 3}, "stage": {...}}``.
    facets: Dict[str, Dict[str, int]]
    #: How many changes the index has yet to take in; 0 when it is up to date.
    behind: int

    def __init__(self, http: Connection, query: _Pairs, limit: Optional[int], page: int) -> None:
        self._http = http
        self._query = query
        self._limit = limit
        self._page = page
        first = self._ask(None, 0)
        self.items = [Hit(item) for item in first["items"]]
        self.total = first["total"]
        self.facets = first["facets"]
        self.behind = first.get("behind", 0)
        self._next: Optional[str] = first.get("next_cursor")

    def __iter__(self) -> Iterator[Hit]:
        yield from self.items
        count, cursor = len(self.items), self._next
        while cursor and (self._limit is None or count < self._limit):
            answer = self._ask(cursor, count)
            for item in answer["items"]:
                yield Hit(item)
            count += len(answer["items"])
            cursor = answer.get("next_cursor")

    def __bool__(self) -> bool:
        return bool(self.items)

    def __repr__(self) -> str:
        return f"Found(total={self.total}, items={[hit.card.ref for hit in self.items]})"

    def _ask(self, cursor: Optional[str], count: int) -> Dict[str, Any]:
        size = self._page if self._limit is None else min(self._page, self._limit - count)
        query = [*self._query, ("limit", str(size)), ("cursor", cursor)]
        answer: Dict[str, Any] = self._http.get("/api/v1/cards", query)
        return answer


def filters(
    kind: Optional[str],
    name: Optional[str],
    stage: Optional[str],
    label: Label,
    times: Mapping[str, When],
) -> _Pairs:
    """The parameters that narrow a list, a search or an export."""
    if label is None:
        labels: List[str] = []
    elif isinstance(label, str):
        labels = [label]
    elif isinstance(label, Mapping):
        labels = [f"{key}:{value}" for key, value in label.items()]
    else:
        labels = list(label)
    given: _Pairs = [("kind", kind), ("name", name), ("stage", stage)]
    given += [("label", text) for text in labels]
    return given + [(bound, _moment(when)) for bound, when in times.items()]


def _moment(when: When) -> Optional[str]:
    if isinstance(when, datetime):
        # One without a zone is the machine's own time, as Python has it.
        return when.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    return when.isoformat() if isinstance(when, date) else when
