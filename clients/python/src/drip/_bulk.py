"""Many cards at once, as NDJSON: read and written in pieces, so that memory stays flat."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from typing import IO, Any, Iterable, Iterator, Mapping, NamedTuple, Union

from ._body import dump
from ._stream import Streamed
from .errors import DripError, Unavailable
from .records import Card

__all__ = ["AnyCards", "Piece", "cards_of", "export_to_path", "pieces_of", "whole_lines"]

#: The most bytes that one call of an import carries, unless one line alone is longer.
PIECE_MAX = 8 << 20

#: Cards, lines of NDJSON, or where such lines are.
AnyCards = Union[
    "os.PathLike[str]", IO[Any], Iterable[Union[Mapping[str, Any], str, bytes]], str, bytes
]


class Piece(NamedTuple):
    """Whole lines, and how many of them."""

    body: bytes
    lines: int


def pieces_of(cards: AnyCards) -> Iterator[Piece]:
    """What is to be sent, in pieces of whole lines.

    :raises TypeError: something among them is neither a card nor a line
    """
    waiting = bytearray()
    count = 0
    for line in _lines_of(cards):
        if waiting and len(waiting) + len(line) + 1 > PIECE_MAX:
            yield Piece(bytes(waiting), count)
            waiting.clear()
            count = 0
        waiting += line
        waiting += b"\n"
        count += 1
    if waiting:
        yield Piece(bytes(waiting), count)


def _lines_of(cards: AnyCards) -> Iterator[bytes]:
    if isinstance(cards, os.PathLike):
        with open(cards, "rb") as file:
            yield from _lines_of(file)
        return
    items: Iterable[Any] = [cards] if isinstance(cards, (str, bytes, Mapping)) else cards
    for item in items:
        if isinstance(item, Mapping):
            yield dump(dict(item))
        elif isinstance(item, (str, bytes)):
            text = item.encode("utf-8") if isinstance(item, str) else item
            # One text may be many lines; only its last line feed ends it rather than separates.
            yield from (text[:-1] if text.endswith(b"\n") else text).split(b"\n")
        else:
            raise TypeError(f"neither a card nor a line of NDJSON: {type(item).__name__}")


def whole_lines(streamed: Streamed) -> Iterator[bytes]:
    """The lines of an export, each of them whole.

    :raises drip.Unavailable: it was cut off
    """
    for line in streamed.lines():
        if not line.endswith(b"\n"):
            # Some servers end an answer by closing: only this tells an end from a cut.
            raise Unavailable("the export was cut off in a line", code="connection_lost")
        yield line


def cards_of(lines: Iterable[bytes]) -> Iterator[Card]:
    """The cards that lines of NDJSON hold."""
    for line in lines:
        try:
            yield Card(json.loads(line))
        except (TypeError, ValueError) as error:
            raise DripError(f"a line is no card: {error}", code="bad_answer") from error


def export_to_path(lines: Iterable[bytes], target: "Union[str, os.PathLike[str]]") -> int:
    """Writes lines beside ``target``, and puts the whole in its place; answers how many."""
    part = f"{os.fspath(target)}.{uuid.uuid4().hex}.part"
    count = 0
    try:
        # With the rights that any new file of this user has.
        with open(part, "xb") as file:
            for line in lines:
                file.write(line)
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise
    return count
