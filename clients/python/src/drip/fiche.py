"""Cards: saved, found, compared, moved, linked."""

from __future__ import annotations

import os
import ssl
from typing import Any, BinaryIO, Dict, Iterable, Iterator, List, Mapping, Optional, Union

from ._body import Query
from ._bulk import AnyCards, cards_of, export_to_path, pieces_of, whole_lines
from ._http import Connection
from ._key import AnyCard, Key
from .changes import Changes
from .found import Found, Label, When, filters
from .observers import Observers, conditions
from .records import Batch, Card, Diff, Imported, Lineage, Revision

__all__ = ["Fiche"]


class Fiche:
    """The cards of a daemon. Threads may share it.

    A card is named in any of three ways: ``"model:wind-power@1.2.0"``; the card itself, or any mapping
    with ``kind``, ``name`` and ``version``; ``("model", "wind-power", "1.2.0")``. Where it is read, the
    version may be left out, and is then the latest.

    Every call raises :class:`drip.DripError`; what each method names below is one of its subclasses.
    All may raise :class:`drip.Unauthorized`, :class:`drip.Forbidden` and :class:`drip.Unavailable`.

    The arguments are those of :class:`drip.Connection`.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        token: Optional[str] = None,
        *,
        timeout: float = 60.0,
        connect_timeout: float = 5.0,
        retries: int = 4,
        patience: float = 30.0,
        cafile: Optional[str] = None,
        context: Optional[ssl.SSLContext] = None,
        proxy: Optional[str] = None,
    ) -> None:
        self._begin(
            Connection(
                url,
                token,
                timeout=timeout,
                connect_timeout=connect_timeout,
                retries=retries,
                patience=patience,
                cafile=cafile,
                context=context,
                proxy=proxy,
            )
        )

    @classmethod
    def over(cls, connection: Connection) -> Fiche:
        """The cards behind a connection that other modules use too."""
        fiche = cls.__new__(cls)
        fiche._begin(connection)
        return fiche

    def _begin(self, connection: Connection) -> None:
        #: The connection: its ``url``, ``version()`` and ``whoami()``.
        self.connection = connection
        #: The change feed: ``fiche.changes(after=0)``, ``fiche.changes.stream()``.
        self.changes = Changes(connection)
        #: Who is told of changes: ``fiche.observers.put("hq", url, secret=...)``.
        self.observers = Observers(connection)

    def __repr__(self) -> str:
        return f"Fiche({self.connection.url!r})"

    def __enter__(self) -> Fiche:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the sockets of every thread. A later call opens a new one."""
        self.connection.close()

    def save(
        self,
        card: AnyCard,
        /,
        *,
        revision: Optional[int] = None,
        create_only: bool = False,
        **fields: Any,
    ) -> Card:
        """Saves a card: a new revision when the content differs, none when it does not.

        What is saved is the whole content: a field that is left out is gone. A save never moves a card
        to another stage, and ``revision``, ``created_at``, ``updated_at`` and ``saved_by`` in it are
        not read.

        :param card: the card with its fields, or only its name: ``"model:wind-power@1.2.0"``
        :param revision: only if the card is at this revision: what others changed is not lost
        :param create_only: only if there is no such card
        :param fields: fields, before those of ``card``
        :return: the card as it stands now
        :raises drip.Invalid: something in it is wrong; ``errors`` names every fault
        :raises drip.Stale: it is not at ``revision``, or exists already. Where ``uncertain`` is set, an
            earlier try of this very call may have been what changed it
        """
        if isinstance(card, Mapping):
            fields = {**card, **fields}
            card = fields
        path = Key.of(card).path(exact=True)
        return Card(self.connection.put(path, fields, conditions(revision, create_only)))

    def get(self, card: AnyCard, *, revision: Optional[int] = None) -> Card:
        """Reads a card; without a version it is the latest: the highest by semver, else the newest.

        :param revision: as it stood in this revision, also of a card that was deleted
        :raises drip.NotFound: there is no such card, or it never had this revision
        """
        return Card(self.connection.get(Key.of(card).path(), [("revision", revision)]))

    def list(
        self,
        kind: str,
        *,
        name: Optional[str] = None,
        stage: Optional[str] = None,
        label: Label = None,
        updated_after: When = None,
        updated_before: When = None,
        created_after: When = None,
        created_before: When = None,
        limit: Optional[int] = None,
        page: int = 200,
    ) -> Iterator[Card]:
        """Every card of a kind, by name and version, read page by page.

        :param kind: ``algorithm``, ``model``, ``parameter``, ``application`` or ``dataset``
        :param name: only cards of this name: its versions
        :param stage: only cards in this stage
        :param label: only cards with these labels: ``{"site": "XJJX"}``, ``"site:XJJX"``, or several
        :param updated_after: only cards changed at this time or later: a ``datetime``, a ``date``, or a text
        :param updated_before: only cards changed before this time
        :param created_after: only cards first made at this time or later
        :param created_before: only cards first made before this time
        :param limit: at most so many
        :param page: how many to ask for at a time, at most 1000
        :raises drip.NotFound: there is no such kind
        """
        path = Key(kind, None, None).path()
        times = {
            "updated_after": updated_after,
            "updated_before": updated_before,
            "created_after": created_after,
            "created_before": created_before,
        }
        query = filters(None, name, stage, label, times)
        return (Card(item) for item in self.connection.pages(path, query, limit=limit, page=page))

    def search(
        self,
        q: str = "",
        *,
        kind: Optional[str] = None,
        stage: Optional[str] = None,
        label: Label = None,
        updated_after: When = None,
        updated_before: When = None,
        created_after: When = None,
        created_before: When = None,
        sort: Optional[str] = None,
        limit: Optional[int] = None,
        page: int = 50,
    ) -> Found:
        """Finds cards by words, in Chinese and English: words, ``"a phrase"``, ``field:word``,
        ``word*``, ``AND``, ``OR``, ``NOT``, brackets. Without words it finds all.

        :param kind: only cards of this kind
        :param stage: only cards in this stage
        :param label: only cards with these labels, as for :meth:`list`, and so the times
        :param sort: ``relevance``, ``name``, ``-name``, ``updated`` or ``-updated``
        :param limit: at most so many hits, over all pages
        :param page: how many to ask for at a time, at most 1000
        :return: the first page, ``total`` and ``facets``; it iterates over the hits of all pages
        :raises drip.Invalid: it is no query
        """
        times = {
            "updated_after": updated_after,
            "updated_before": updated_before,
            "created_after": created_after,
            "created_before": created_before,
        }
        query = [("q", q), *filters(kind, None, stage, label, times), ("sort", sort)]
        return Found(self.connection, query, limit, page)

    def history(
        self, card: AnyCard, *, limit: Optional[int] = None, page: int = 200
    ) -> Iterator[Revision]:
        """Every revision of a card, oldest first, also of one that was deleted.

        :raises drip.NotFound: there never was such a card
        """
        path = Key.of(card).path("/history")
        return (Revision(item) for item in self.connection.pages(path, limit=limit, page=page))

    def diff(self, card: AnyCard, old: Optional[int] = None, new: Optional[int] = None) -> Diff:
        """What changed between two revisions, field by field.

        :param old: the earlier revision; the one before ``new`` unless told
        :param new: the later one; the newest unless told
        :raises drip.NotFound: there is no such card or revision
        """
        return Diff(self.connection.get(Key.of(card).path("/diff"), [("from", old), ("to", new)]))

    def lineage(
        self, card: AnyCard, direction: str = "both", depth: Optional[int] = None
    ) -> Lineage:
        """What a card is made from, and what is made from it.

        :param direction: ``up`` to what it is made from, ``down`` to what is made from it, or ``both``
        :param depth: at most so many steps
        :return: ``nodes``, ``edges``, and as ``missing`` the edges of which one end is not there
        :raises drip.NotFound: there is no such card
        """
        query = [("direction", direction), ("depth", depth)]
        return Lineage(self.connection.get(Key.of(card).path("/lineage"), query))

    def stage(
        self, card: AnyCard, stage: str, comment: str = "", *, revision: Optional[int] = None
    ) -> Card:
        """Moves a card to another stage. Each move is a revision; one to where it is does nothing.

        :param stage: ``experiment``, ``development``, ``testing``, ``deployed``, ``accepted`` or
            ``retired``
        :param comment: why
        :param revision: only if the card is at this revision
        :return: the card as it stands now
        :raises drip.Conflict: it may not go there from where it is
        :raises drip.NotFound: there is no such card
        :raises drip.Stale: it is not at ``revision``
        """
        path = Key.of(card).path("/stage")
        body = {"stage": stage, "comment": comment}
        return Card(self.connection.post(path, body, conditions(revision, False)))

    def delete(self, card: AnyCard, *, revision: Optional[int] = None) -> None:
        """Deletes a card. Its history stays, and a later save goes on from its last revision.

        :param revision: only if it is at this revision
        :raises drip.NotFound: there is no such card
        :raises drip.Stale: it is not at ``revision``
        """
        self.connection.delete(Key.of(card).path(exact=True), conditions(revision, False))

    def batch(self, cards: Iterable[Mapping[str, Any]]) -> Batch:
        """Saves many cards, all or none; at most 10 000.

        :return: the ``cards`` as they stand now, and how many were ``created``, ``updated``,
            ``unchanged``
        :raises drip.Invalid: a card is wrong, and nothing was saved; ``errors`` says which, as ``/3/name``
        """
        documents: List[Dict[str, Any]] = [dict(card) for card in cards]
        return Batch(self.connection.post("/api/v1/cards:batch", documents))

    def export(
        self,
        *,
        kind: Optional[str] = None,
        name: Optional[str] = None,
        stage: Optional[str] = None,
        label: Label = None,
        updated_after: When = None,
        updated_before: When = None,
        created_after: When = None,
        created_before: When = None,
    ) -> Iterator[Card]:
        """Every card, as it comes over the wire: memory stays flat, however many there are.

        :raises drip.Unavailable: it was cut off; what came until then is not all
        """
        times = {
            "updated_after": updated_after,
            "updated_before": updated_before,
            "created_after": created_after,
            "created_before": created_before,
        }
        return cards_of(self._export(filters(kind, name, stage, label, times)))

    def export_to(
        self,
        target: Union[str, "os.PathLike[str]", BinaryIO],
        *,
        kind: Optional[str] = None,
        name: Optional[str] = None,
        stage: Optional[str] = None,
        label: Label = None,
        updated_after: When = None,
        updated_before: When = None,
        created_after: When = None,
        created_before: When = None,
    ) -> int:
        """Writes every card as NDJSON, one a line, and answers how many there were.

        :param target: a path, or a file that is open for bytes. At a path stands the whole export, or
            what stood there before
        """
        times = {
            "updated_after": updated_after,
            "updated_before": updated_before,
            "created_after": created_after,
            "created_before": created_before,
        }
        lines = self._export(filters(kind, name, stage, label, times))
        if isinstance(target, (str, os.PathLike)):
            return export_to_path(lines, target)
        return sum(1 for line in lines if target.write(line))

    def import_(self, cards: AnyCards) -> Imported:
        """Takes in cards, with their stages. Good ones are kept whatever the others are, and the same
        again changes nothing; so after an error it can be done once more from the start.

        :param cards: cards, lines of NDJSON, or a path or an open file of such lines; read as they are
            sent, up to 8 MiB at a time
        :return: how many were ``accepted`` and ``refused``, and which lines are ``rejected``
        """
        done = Imported(accepted=0, created=0, updated=0, unchanged=0, refused=0, rejected=[])
        before = 0
        for piece in pieces_of(cards):
            sent = (piece.body, "application/x-ndjson")
            told = self.connection.call("POST", "/api/v1/cards:import", (), *sent).json()
            for rejected in told.get("rejected", []):
                done["rejected"].append({**rejected, "line": rejected["line"] + before})
            for count in ("accepted", "created", "updated", "unchanged", "refused"):
                done[count] += told.get(count, 0)
            before += piece.lines
        return done

    def _export(self, query: Query) -> Iterator[bytes]:
        with self.connection.stream("/api/v1/cards:export", query) as streamed:
            yield from whole_lines(streamed)
