"""What goes out: JSON, parameters, parts of paths."""

from __future__ import annotations

import datetime
import json
from typing import Any, Iterable, List, Tuple, Union
from urllib.parse import quote, urlencode

from .errors import Invalid

__all__ = ["Query", "as_json", "dump", "part", "query_text"]

#: Parameters of a call. Those that are ``None`` are left out.
Query = Iterable[Tuple[str, Union[str, int, None]]]


def part(text: str) -> str:
    """One part of a path, encoded: a ``/`` in it stays inside it.

    :raises drip.Invalid: it is empty
    """
    if not text:
        raise Invalid("a name and a version are needed", code="bad_name", errors=[("", "is empty")])
    return quote(text, safe="")


def as_json(body: Any) -> Tuple[bytes, str]:
    """A body of JSON and its media type. Times become RFC 3339.

    :raises TypeError: something in it has no form in JSON
    :raises ValueError: a number in it is none, or a text is none in UTF-8
    """
    return dump(body), "application/json"


def dump(body: Any) -> bytes:
    """JSON on one line, in UTF-8."""
    text = json.dumps(
        body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
    )
    return text.encode("utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            raise TypeError(f"the time {value!r} has no zone: datetime.now(timezone.utc) has one")
        return value.isoformat()
    raise TypeError(f"{value!r} has no form in JSON")


def query_text(query: Query) -> str:
    """The parameters as they stand in an address, with their `?`; nothing when there are none."""
    pairs: List[Tuple[str, str]] = [(k, str(v)) for k, v in query if v is not None]
    return f"?{urlencode(pairs, quote_via=quote)}" if pairs else ""
