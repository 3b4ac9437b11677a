"""JSON objects as they are, with their fields as attributes and times as times."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Generic, Optional, Type, TypeVar, Union, overload

__all__ = ["Field", "Record", "time_of"]

T = TypeVar("T")

_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?$", re.I)


def time_of(text: Optional[str]) -> Optional[datetime]:
    """A time of the daemon as a ``datetime`` with its zone; ``None`` where there is none."""
    if not text:
        return None
    parts = _TIME.match(text)
    if parts is None:
        raise ValueError(f"`{text}` is no time")
    date, clock, fraction, zone = parts.groups()
    # Python before 3.11 reads neither `Z` nor any number of decimals.
    shift = "+00:00" if zone in (None, "Z", "z") else zone
    micros = (fraction or "").ljust(6, "0")[:6]
    return datetime.fromisoformat(f"{date}T{clock}.{micros}{shift}").astimezone(timezone.utc)


class Record(Dict[str, Any]):
    """A JSON object whose fields can be read and set as attributes.

    A field that is a word of Python is reached with an underscore behind it: ``edge.from_``. One that
    is the name of a method of ``dict`` is reached as an item: ``card["items"]``.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        # Called only for what is no attribute of the class. Dunder names ask for protocols.
        if not name.startswith("__"):
            for field in (name, name[:-1] if name.endswith("_") else name):
                if field in self:
                    return self[field]
        raise AttributeError(f"this {type(self).__name__.lower()} has no field `{name}`")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(getattr(type(self), name, None), property):
            raise AttributeError(f"`{name}` is read from the record: set the item instead")
        if callable(getattr(dict, name, None)):
            raise AttributeError(f"`{name}` is a method of every dict: set the item instead")
        self[name] = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()})"


class Field(Generic[T]):
    """A field that has a value also where it was left out. One that is ``kept`` is put into the record
    when it is first looked at, so that what is then added to it is not lost."""

    def __init__(self, empty: Callable[[], T], *, kept: bool = False) -> None:
        self._empty = empty
        self._kept = kept
        self._name = ""

    def __set_name__(self, owner: Type[Record], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, record: None, owner: Type[Record]) -> Field[T]: ...

    @overload
    def __get__(self, record: Record, owner: Type[Record]) -> T: ...

    def __get__(self, record: Optional[Record], owner: Type[Record]) -> Union[Field[T], T]:
        if record is None:
            return self
        if self._name not in record and not self._kept:
            return self._empty()
        value: T = record.setdefault(self._name, self._empty())
        return value

    def __set__(self, record: Record, value: T) -> None:
        record[self._name] = value
