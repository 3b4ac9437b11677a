"""Signing in."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Optional

from ._http import Connection
from ._record import time_of

__all__ = ["Token", "login"]


class Token(str):
    """The text of a token, with what is known of it."""

    #: When it ends, in UTC.
    expires_at: Optional[datetime]
    #: ``admin``, ``publisher``, ``viewer`` or ``consumer``.
    role: str


def login(url: Optional[str], username: str, password: str, **options: Any) -> Token:
    """Signs in, and answers a token that is valid for 12 hours::

        fiche = drip.Fiche(url, drip.login(url, "ada", password))

    For what runs longer, make an API token: ``dripctl token create NAME --scope fiche:write``.

    :param url: the daemon's address; found as :class:`drip.Connection` finds it when it is ``None``
    :param options: those of :class:`drip.Connection`, such as ``cafile``
    :raises drip.Unauthorized: the name or the password is wrong
    :raises drip.Limited: too many wrong ones were tried
    """
    body = {"username": username, "password": password}
    with Connection(url, **options) as connection:
        # A token of before would be refused before the password is looked at.
        connection.forget_token()
        answer = connection.post("/api/v1/login", body, idempotent=False)
    token = Token(answer["token"])
    token.expires_at = time_of(answer.get("expires_at"))
    token.role = answer.get("role", "")
    return token
