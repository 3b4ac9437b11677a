"""Cards, and what else the calls for them answer. Each *is* the ``dict`` that the daemon sent, so it
compares and becomes JSON as such.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Dict, List, Optional, Sequence, Type, TypeVar

from ._record import Field, Record, time_of

__all__ = [
    "Batch",
    "Card",
    "Change",
    "Changed",
    "Diff",
    "Edge",
    "Hit",
    "Imported",
    "Lineage",
    "Node",
    "Rejected",
    "Revision",
]

R = TypeVar("R", bound=Record)


def _text() -> Field[str]:
    return Field(str)


def _number() -> Field[int]:
    return Field(int)


def _records(kind: Type[R], found: Any) -> List[R]:
    return [kind(item) for item in found or []]


class Card(Record):
    """A card: what describes an algorithm, a model, a parameter, an application or a dataset.

    ``Card(kind="model", name="wind-power", version="1.2.0")`` makes one to be saved. Besides the
    fields below it has those of its kind (``homepage``, ``author``, ``license``, ``datatype``,
    ``project``...) and any other that it was given.
    """

    __slots__ = ()

    kind = _text()
    name = _text()
    version = _text()
    summary = _text()
    remark = _text()
    #: ``experiment``, ``development``, ``testing``, ``deployed``, ``accepted`` or ``retired``.
    stage = _text()
    #: Text, or any JSON.
    config: Field[Any] = Field(dict, kept=True)
    labels: Field[Dict[str, str]] = Field(dict, kept=True)
    #: What an algorithm, a model or an application needs: ``kind:name@version``.
    requires: Field[Sequence[str]] = Field(tuple)
    #: What needs an algorithm, a parameter or a dataset.
    requiredby: Field[Sequence[str]] = Field(tuple)
    #: The datasets that a model was made from.
    data: Field[Sequence[str]] = Field(tuple)
    #: The algorithm that a model was made by.
    algorithm = _text()
    #: Counted from 1; every change of content and every move is one. 0 before it is saved.
    revision = _number()
    #: Who made this revision.
    saved_by = _text()

    @property
    def ref(self) -> str:
        """How other cards refer to it: ``model:wind-power@1.2.0``."""
        return f"{self.kind}:{self.name}@{self.version}"

    @property
    def created_at(self) -> Optional[datetime]:
        """When its first revision was made, in UTC; ``None`` before it is saved."""
        return time_of(self.get("created_at"))

    @property
    def updated_at(self) -> Optional[datetime]:
        """When this revision was made, in UTC; ``None`` before it is saved."""
        return time_of(self.get("updated_at"))


class Origin(Record):
    """Where a revision came from: ``{event, at, by, comment, from_stage, deleted}``."""

    __slots__ = ()

    #: ``card.saved`` or ``card.staged``.
    event = _text()
    by = _text()
    #: Why, where it was said.
    comment = _text()
    #: The stage it was moved from, where it was moved.
    from_stage: Field[Optional[str]] = Field(lambda: None)
    #: When and by whom the card was deleted in this revision: ``{at, by}``; else ``None``.
    deleted: Field[Optional[Dict[str, str]]] = Field(lambda: None)

    @property
    def at(self) -> Optional[datetime]:
        """When, in UTC."""
        return time_of(self.get("at"))


class Revision(Card):
    """A card as it stood in one revision, with ``change``: where that came from."""

    __slots__ = ()

    @property
    def change(self) -> Origin:
        """Where the revision came from."""
        return Origin(self.get("change") or {})


class Changed(Record):
    """One field that differs: ``{path, change, from, to}``."""

    __slots__ = ()

    #: Where: a JSON pointer such as ``/config/hidden``.
    path = _text()
    #: ``added``, ``removed`` or ``changed``.
    change = _text()

    def __str__(self) -> str:
        old, new = self.get("from"), self.get("to")
        if self.change == "added":
            return f"+ {self.path}: {new!r}"
        if self.change == "removed":
            return f"- {self.path}: {old!r}"
        return f"~ {self.path}: {old!r} -> {new!r}"


class Diff(Record):
    """What changed between two revisions: ``{from, to, changes}``. ``print(diff)`` shows it."""

    __slots__ = ()

    @property
    def changes(self) -> List[Changed]:
        """Every field that differs."""
        return _records(Changed, self.get("changes"))

    def __str__(self) -> str:
        return "\n".join(str(changed) for changed in self.changes)


class Node(Record):
    """A card of a lineage: ``{kind, name, version, stage}``."""

    __slots__ = ()

    kind = _text()
    name = _text()
    version = _text()
    stage = _text()

    @property
    def ref(self) -> str:
        """How edges name it: ``model:wind-power@1.2.0``."""
        return f"{self.kind}:{self.name}@{self.version}"


class Edge(Record):
    """That ``from_`` was made from ``to``: ``{from, to, field, missing}``."""

    __slots__ = ()

    to = _text()
    #: The field that says so.
    field = _text()
    #: Whether one end is not there.
    missing: Field[bool] = Field(bool)

    @property
    def from_(self) -> str:
        """What was made."""
        return str(self.get("from", ""))


class Lineage(Record):
    """Cards, and what is made from what: ``{nodes, edges, truncated}``."""

    __slots__ = ()

    #: Whether there is more than is shown.
    truncated: Field[bool] = Field(bool)

    @property
    def nodes(self) -> List[Node]:
        """The cards, the one that was asked for first."""
        return _records(Node, self.get("nodes"))

    @property
    def edges(self) -> List[Edge]:
        """What is made from what."""
        return _records(Edge, self.get("edges"))

    @property
    def missing(self) -> List[Edge]:
        """The references that lead to no card."""
        return [edge for edge in self.edges if edge.missing]


class Hit(Record):
    """A card that was found: ``{card, score, highlights}``."""

    __slots__ = ()

    #: How well it fits.
    score: Field[float] = Field(float)
    #: By field, the passage that fits, with ``<mark>`` around the words and HTML escaped.
    highlights: Field[Dict[str, str]] = Field(dict)

    @property
    def card(self) -> Card:
        """The card as it stands now."""
        return Card(self.get("card") or {})


class Batch(Record):
    """What a batch did: ``{items, created, updated, unchanged}``."""

    __slots__ = ()

    created = _number()
    updated = _number()
    unchanged = _number()

    @property
    def cards(self) -> List[Card]:
        """The cards as they stand now, in the order they were sent."""
        return _records(Card, self.get("items"))


class Rejected(Record):
    """A line of an import that is no card: ``{line, reason, errors}``."""

    __slots__ = ()

    #: Which line, counted from 1.
    line = _number()
    reason = _text()
    #: Every fault in it: ``{pointer, detail}``.
    errors: Field[List[Dict[str, str]]] = Field(list)


class Imported(Record):
    """What an import did: ``{accepted, created, updated, unchanged, refused, rejected}``."""

    __slots__ = ()

    accepted = _number()
    created = _number()
    updated = _number()
    unchanged = _number()
    refused = _number()

    @property
    def rejected(self) -> List[Rejected]:
        """The refused lines; of each 8 MiB that were sent, the first thousand."""
        return _records(Rejected, self.get("rejected"))


class Change(Record):
    """One change of one card: ``{number, event, card, at}``."""

    __slots__ = ()

    #: No gaps, no repeats.
    number = _number()
    #: ``card.saved``, ``card.deleted`` or ``card.staged``.
    event = _text()

    @property
    def card(self) -> Card:
        """The card as it stood after the change; before it, when it was deleted."""
        return Card(self.get("card") or {})

    @property
    def at(self) -> Optional[datetime]:
        """When, in UTC."""
        return time_of(self.get("at"))
