"""What names a card: ``"model:wind-power@1.2.0"``, the card itself, or its kind, name and version."""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, Optional, Tuple, Union

from ._body import part
from .errors import Fault, Invalid

__all__ = ["AnyCard", "Key"]

#: What may name a card.
AnyCard = Union[str, Mapping[str, Any], Tuple[str, str], Tuple[str, str, str]]


class Key(NamedTuple):
    """A kind, and a name and a version where they were given."""

    kind: str
    name: Optional[str]
    version: Optional[str]

    @classmethod
    def of(cls, card: AnyCard) -> Key:
        """What names a card.

        :raises drip.Invalid: it names none
        """
        if isinstance(card, str):
            kind, _, rest = card.partition(":") if ":" in card else ("", "", card)
            name, _, version = rest.rpartition("@") if "@" in rest else (rest, "", "")
            given: List[Any] = [kind, name, version or None]
        elif isinstance(card, Mapping):
            given = [card.get(field) for field in ("kind", "name", "version")]
        else:
            given = [*card, None][:3]
        faults = [
            Fault(f"/{field}", "is missing" if not value else "must be text")
            for field, value in zip(cls._fields, given)
            if not (isinstance(value, str) and value) and not (field == "version" and value is None)
        ]
        if faults:
            shown = repr(card if isinstance(card, str) else given)[:200]
            why = f"{shown} names no card: write kind:name@version, such as model:wind-power@1.2.0"
            raise Invalid(why, code="bad_reference", errors=faults)
        return cls(*given)

    def path(self, rest: str = "", *, exact: bool = False) -> str:
        """Where it is. Without a version it is the latest, unless it is to be ``exact``.

        :raises drip.Invalid: it is to be exact, and has no version
        """
        path = f"/api/v1/cards/{part(self.kind)}"
        if self.name is None:
            return path
        if self.version is None and exact:
            why = f"{self.kind}:{self.name} needs its version here: write {self.kind}:{self.name}@1.0.0"
            raise Invalid(why, code="bad_reference", errors=[("/version", "is missing")])
        return f"{path}/{part(self.name)}/{part(self.version or 'latest')}{rest}"
