"""What can go wrong. Every failure of a call is a :class:`DripError`; its subclass says what to do.

The daemon answers failures as problem documents (RFC 9457), and they come back as they were: a
stable word for programs (``code``), a sentence for people (``detail``), every fault in what was sent
(``errors``). A failure that no daemon told of, such as a connection that was lost, has status 0.
"""

from __future__ import annotations

import email.utils
import json
import time
from email.message import Message
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple, Type

__all__ = [
    "Conflict",
    "DripError",
    "Fault",
    "Forbidden",
    "Invalid",
    "Limited",
    "NotFound",
    "Stale",
    "Unauthorized",
    "Unavailable",
]

#: How much of an answer that is no problem document is shown.
_SHOWN = 200


class Fault(NamedTuple):
    """One fault in what was sent."""

    #: Where: a JSON pointer such as ``/labels/site``, the name of a parameter, or ``line 7``.
    pointer: str
    #: What is wrong there, and what would be right.
    detail: str


class DripError(Exception):
    """A call that failed. Its text names every fault."""

    #: The HTTP status; 0 when no answer came, or nothing was sent.
    status: int
    #: The stable word for programs, such as ``card_not_found``.
    code: str
    #: A short title.
    title: str
    #: The sentence for people.
    detail: str
    #: Every fault in what was sent.
    errors: List[Fault]
    #: After how many seconds to try again, where the daemon said so.
    retry_after: Optional[float]
    #: Whether the call may have been done all the same: it was sent, and the answer was lost, now or
    #: in an earlier try of the same call.
    uncertain: bool

    def __init__(
        self,
        detail: str,
        *,
        status: int = 0,
        code: str = "failed",
        title: str = "",
        errors: Iterable[Tuple[str, str]] = (),
        retry_after: Optional[float] = None,
        uncertain: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.errors = [Fault(*fault) for fault in errors]
        self.retry_after = retry_after
        self.uncertain = uncertain

    def __str__(self) -> str:
        lines = [f"{self.detail} ({self.code})"]
        lines.extend(f"  {fault.pointer or '/'}: {fault.detail}" for fault in self.errors)
        if self.uncertain:
            lines.append("  the answer to a try was lost: it may have been done all the same")
        return "\n".join(lines)

    def __reduce__(self) -> Tuple[Any, ...]:
        # Errors cross process boundaries (multiprocessing, concurrent.futures) whole.
        return (_again, (type(self), self.detail, dict(self.__dict__)))


class Invalid(DripError):
    """It was read, and its content is wrong; or it could not be read, or is too large."""


class Unauthorized(DripError):
    """No valid credential was shown: give ``token=``, set ``DRIP_TOKEN``, or ``dripctl login``."""


class Forbidden(DripError):
    """The caller is known and may not do this."""


class NotFound(DripError):
    """It does not exist, or the caller may not know that it does."""


class Conflict(DripError):
    """It is in a state that does not allow this."""


class Stale(DripError):
    """It is not at the expected revision (``revision=``), or exists already (``create_only=``).

    Read it again, and decide anew.
    """


class Limited(DripError):
    """Too many requests, or a quota that is used up; ``retry_after`` says when to come back."""


class Unavailable(DripError):
    """No daemon answers, the connection was lost, or the daemon cannot serve right now."""


_BY_STATUS: Dict[int, Type[DripError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Stale,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: Limited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: Unavailable,
}


def _again(kind: Type[DripError], detail: str, state: Dict[str, Any]) -> DripError:
    error = kind(detail)
    error.__dict__.update(state)
    return error


def refused(status: int, headers: Message, body: bytes) -> DripError:
    """The error that an answer tells of, whether or not it is a problem document."""
    problem = _problem(body)
    detail = problem.get("detail") or problem.get("title")
    if not isinstance(detail, str):
        detail = _other(status, headers, body)
    kind = _BY_STATUS.get(status, DripError)
    return kind(
        detail,
        status=status,
        code=_text(problem, "code") or "refused",
        title=_text(problem, "title"),
        errors=_faults(problem.get("errors")),
        retry_after=seconds_of(headers.get("Retry-After")),
    )


def seconds_of(text: Optional[str]) -> Optional[float]:
    """What ``Retry-After`` says, in seconds: it is a number, or the date of a moment."""
    if text is None:
        return None
    text = text.strip()
    if text.isdigit():
        return float(text)
    parts = email.utils.parsedate_tz(text)
    if parts is None:
        return None
    return max(0.0, email.utils.mktime_tz(parts) - time.time())


def _problem(body: bytes) -> Dict[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _text(problem: Dict[str, Any], field: str) -> str:
    value = problem.get(field)
    return value if isinstance(value, str) else ""


def _faults(given: Any) -> List[Fault]:
    if not isinstance(given, list):
        return []
    told = [fault for fault in given if isinstance(fault, dict)]
    return [Fault(str(fault.get("pointer", "")), str(fault.get("detail", ""))) for fault in told]


def _other(status: int, headers: Message, body: bytes) -> str:
    """The sentence for an answer that is none of Drip's: a proxy's page, or a wrong address."""
    if 300 <= status < 400:
        where = headers.get("Location", "elsewhere")
        return f"answered {status}, which leads to {where}: give the address of the daemon itself"
    said = " ".join(body[: 4 * _SHOWN].decode("utf-8", "replace").split())[:_SHOWN]
    return f"answered {status}" + (f": {said}" if said else "")
