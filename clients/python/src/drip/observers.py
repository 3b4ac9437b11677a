"""Observers: who is told of changes by push."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Dict, Iterable, Iterator, Optional, Sequence

from ._body import part
from ._http import Connection
from ._record import Field, Record, time_of

__all__ = ["Delivery", "Observer", "Observers", "Redelivery", "Standing"]


class Standing(Record):
    """How an observer stands: ``{status, cursor, behind, delivered, failures, last_error, ...}``."""

    __slots__ = ()

    #: ``current``, ``behind``, ``failing``, ``stopped`` (its receiver answered 410) or ``disabled``.
    status = Field(str)
    #: The number of the last change that it heard, or does not want to hear.
    cursor = Field(int)
    #: How many changes there are after that.
    behind = Field(int)
    #: How many deliveries it took.
    delivered = Field(int)
    #: How many tries failed in a row.
    failures = Field(int)
    last_error: Field[Optional[str]] = Field(lambda: None)

    @property
    def next_try_at(self) -> Optional[datetime]:
        """When it is tried again, in UTC; ``None`` when nothing failed."""
        return time_of(self.get("next_try_at"))

    @property
    def last_success_at(self) -> Optional[datetime]:
        """When it last took a delivery, in UTC."""
        return time_of(self.get("last_success_at"))


class Observer(Record):
    """Who is told of changes, and how it stands. Its secret is never shown."""

    __slots__ = ()

    name = Field(str)
    url = Field(str)
    #: Only cards of these kinds; all when empty, here and below.
    kinds: Field[Sequence[str]] = Field(tuple)
    events: Field[Sequence[str]] = Field(tuple)
    #: Only cards whose names fit one of these patterns.
    names: Field[Sequence[str]] = Field(tuple)
    #: Only cards that are in one of these stages after the change.
    stages: Field[Sequence[str]] = Field(tuple)
    #: Whether deliveries are signed.
    has_secret: Field[bool] = Field(bool)
    #: Whether it is told anything; what happens meanwhile waits for it.
    enabled: Field[bool] = Field(lambda: True)
    summary = Field(str)
    revision = Field(int)

    @property
    def state(self) -> Standing:
        """How it stands."""
        return Standing(self.get("state") or {})


class Delivery(Record):
    """A delivery and how it fared: ``{entry, number, event, card, state, tries, status, error, ...}``."""

    __slots__ = ()

    #: The number of the change that it tells.
    number = Field(int)
    event = Field(str)
    #: The card, as ``model:wind-power@1.2.0``.
    card = Field(str)
    #: ``delivered``, ``failed`` or ``pending``.
    state = Field(str)
    #: How many tries were made.
    tries = Field(int)
    #: What the receiver answered to the last try, where it did.
    status: Field[Optional[int]] = Field(lambda: None)
    #: Why the last try failed, where it did.
    error: Field[Optional[str]] = Field(lambda: None)
    #: Whether it was sent again because someone asked for it.
    again: Field[bool] = Field(bool)

    @property
    def at(self) -> Optional[datetime]:
        """When the last try was made, in UTC; ``None`` before the first."""
        return time_of(self.get("at"))


class Redelivery(Record):
    """What will be told again: ``{from, to, events}``."""

    __slots__ = ()

    to = Field(int)
    #: How many changes that are.
    events = Field(int)

    @property
    def from_(self) -> int:
        """The number of the first."""
        return int(self.get("from", 0))


class Observers:
    """The observers of a daemon: ``fiche.observers``.

    An observer is told of every change from the moment it is made, in order and at least once, by a
    ``POST`` of ``{number, event, card, at}`` that is signed: see :func:`drip.verify_signature`. One
    that does not answer 2xx is tried again, and delays no other.
    """

    def __init__(self, http: Connection) -> None:
        self._http = http

    def put(
        self,
        name: str,
        url: str,
        *,
        kinds: Optional[Iterable[str]] = None,
        events: Optional[Iterable[str]] = None,
        names: Optional[Iterable[str]] = None,
        stages: Optional[Iterable[str]] = None,
        secret: Optional[str] = None,
        revision: Optional[int] = None,
        create_only: bool = False,
        **fields: Any,
    ) -> Observer:
        """Makes an observer, or changes one. What is left out is as for a new one, but for the secret.

        :param url: where deliveries go; loopback and private addresses only if ``[observers]
            allow_private`` is set in ``drip.toml``
        :param kinds: only cards of these kinds; all unless told
        :param events: only these of ``card.saved``, ``card.deleted``, ``card.staged``
        :param names: only cards whose names fit one of these patterns, such as ``wind-*``
        :param stages: only cards that are in one of these stages after the change
        :param secret: what deliveries are signed with. It is never shown again; the one there is stays
            when it is left out, and goes when it is empty
        :param revision: only if it is at this revision
        :param create_only: only if there is none of this name
        :param fields: ``enabled``, ``version``, ``summary``, ``config``, ``remark``
        :raises drip.Invalid: something in it is wrong, such as the address
        :raises drip.Stale: it is not at ``revision``, or exists already
        """
        body: Dict[str, Any] = {"url": url, **fields}
        given = {"kinds": kinds, "events": events, "names": names, "stages": stages}
        body.update({field: list(value) for field, value in given.items() if value is not None})
        if secret is not None:
            body["secret"] = secret
        headers = conditions(revision, create_only)
        return Observer(self._http.put(_path(name), body, headers))

    def get(self, name: str) -> Observer:
        """An observer and how it stands (``state``), without its secret.

        :raises drip.NotFound: there is none of this name
        """
        return Observer(self._http.get(_path(name)))

    def list(self, *, limit: Optional[int] = None, page: int = 200) -> Iterator[Observer]:
        """Every observer, by name."""
        items = self._http.pages("/api/v1/observers", limit=limit, page=page)
        return (Observer(item) for item in items)

    def delete(self, name: str, *, revision: Optional[int] = None) -> None:
        """Removes an observer and its log: it is told of nothing more.

        :raises drip.NotFound: there is none of this name
        """
        self._http.delete(_path(name), conditions(revision, False))

    def deliveries(
        self,
        name: str,
        *,
        state: Optional[str] = None,
        limit: Optional[int] = None,
        page: int = 200,
    ) -> Iterator[Delivery]:
        """What was sent to an observer and what failed, newest first; or what waits, in order.

        :param state: only what is ``delivered``, ``failed`` or ``pending``; the first two unless told
        :raises drip.NotFound: there is none of this name
        """
        path, query = _path(name, "/deliveries"), [("state", state)]
        return (Delivery(item) for item in self._http.pages(path, query, limit=limit, page=page))

    def redeliver(self, name: str, first: int, last: Optional[int] = None) -> Redelivery:
        """Tells an observer again what it was told, from one number on.

        :param first: the number of the first change
        :param last: the number of the last; the last that it was told unless given
        :return: ``from_``, ``to`` and how many ``events`` that are
        :raises drip.NotFound: there is none of this name
        :raises drip.Invalid: it was told of nothing there
        """
        body = {"from": first, **({} if last is None else {"to": last})}
        return Redelivery(self._http.post(_path(name, "/redeliver"), body))


def conditions(revision: Optional[int], create_only: bool) -> Dict[str, str]:
    """The headers that guard a write."""
    headers = {}
    if revision is not None:
        headers["If-Match"] = f'"{revision}"'
    if create_only:
        headers["If-None-Match"] = "*"
    return headers


def _path(name: str, rest: str = "") -> str:
    return f"/api/v1/observers/{part(name)}{rest}"
