"""Whether a delivery to an observer was sent by the daemon that knows the secret."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import List, Optional, Tuple, Union

__all__ = ["verify_signature"]


def verify_signature(
    secret: Union[str, bytes],
    header: Optional[str],
    body: Union[str, bytes],
    tolerance: Optional[float] = 300,
    *,
    now: Optional[float] = None,
) -> bool:
    """Whether ``header`` signs ``body`` with ``secret``, not long ago. Act on a delivery only if so.

    The header is ``Drip-Signature: t=<unix seconds>,v1=<hex>``, and ``v1`` the HMAC-SHA256 of
    ``<t>.<body>``. Several ``v1`` may stand there while a secret is changed: one that fits is enough.

    :param secret: what the observer was made with
    :param header: the value of ``Drip-Signature``; ``None`` or anything else that is none is refused
    :param body: the body, byte for byte as it came: JSON that was read and written anew is another
    :param tolerance: how many seconds old, or ahead, ``t`` may be, so that a delivery that someone
        recorded cannot be sent again later; ``None`` for any
    :param now: the time to compare with, in Unix seconds; the machine's unless told
    :raises ValueError: the secret is empty: everybody knows that one
    """
    key = secret.encode("utf-8") if isinstance(secret, str) else bytes(secret)
    if not key:
        raise ValueError("an empty secret proves nothing: make the observer with one")
    sent_at, signatures = _read(header)
    if sent_at is None or not signatures:
        return False
    if tolerance is not None and not _is_near(sent_at, tolerance, now):
        return False
    content = body.encode("utf-8") if isinstance(body, str) else bytes(body)
    signed = sent_at.encode("ascii") + b"." + content
    expected = hmac.new(key, signed, hashlib.sha256).hexdigest().encode("ascii")
    fits = False
    for signature in signatures:
        # Every one is compared, and each in constant time.
        fits |= hmac.compare_digest(expected, signature.lower().encode("utf-8", "replace"))
    return fits


def _read(header: Optional[str]) -> Tuple[Optional[str], List[str]]:
    sent_at: Optional[str] = None
    signatures: List[str] = []
    for pair in (header or "").split(","):
        name, _, value = pair.strip().partition("=")
        if name == "t":
            # A second time would leave it open which of them was signed.
            if sent_at is not None or not (value.isascii() and value.isdigit()):
                return None, []
            sent_at = value
        elif name == "v1":
            signatures.append(value)
    return sent_at, signatures


def _is_near(sent_at: str, tolerance: float, now: Optional[float]) -> bool:
    moment = time.time() if now is None else now
    # No time that matters has more digits, and a float could not hold it.
    return len(sent_at) <= 15 and abs(moment - int(sent_at)) <= tolerance
