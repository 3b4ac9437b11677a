"""The transport that every module of the package shares: calls, retries, pages, streams.

A call is repeated only when that is harmless: ``GET``, ``PUT`` and ``DELETE`` are, and a ``POST`` is
when it carries an ``Idempotency-Key``, which is set here. Whoever builds a module on this calls
:meth:`Connection.call` (or ``get``, ``put``, ``post``, ``delete``), :meth:`Connection.pages` for
lists, and :meth:`Connection.stream` for what does not fit into memory.
"""

from __future__ import annotations

import http.client
import json
import platform
import ssl
import time
import uuid
from email.message import Message
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Tuple, TypeVar, Union

from . import _where
from ._body import Query, as_json, query_text
from ._retry import may_repeat, wait_before
from ._stream import Opened, Streamed, is_timeout, why
from ._version import __version__
from ._wire import NotConnected, Wire
from .errors import DripError, Unavailable, refused

__all__ = ["Answer", "Connection"]

T = TypeVar("T")
#: What one try came to, and whether it failed on a connection that had been waiting for work and may
#: have ended long ago.
_Outcome = Tuple[Union[T, DripError], bool]

#: The first wait before a call is tried again, in seconds, and the longest.
_WAITS = (0.2, 5.0)
#: How much is read of an answer that tells of an error.
_PROBLEM_MAX = 4 << 20

_AGENT = f"drip-python/{__version__} Python/{platform.python_version()}"


class Answer(NamedTuple):
    """An answer that came whole."""

    status: int
    #: By name, in any case.
    headers: Message
    body: bytes

    def json(self) -> Any:
        """The body as JSON; ``None`` when there is none."""
        if not self.body:
            return None
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise DripError(
                f"the answer is not JSON, so this may be no daemon of Drip: {error}",
                status=self.status,
                code="bad_answer",
            ) from error


class Connection:
    """A daemon, and the credential to show it. Threads may share it; forks open their own sockets.

    Modules are built over one: ``drip.Fiche.over(connection)``. ``drip.Fiche(url, token, ...)`` takes the
    same arguments, and builds its own.

    :param url: the daemon's address; else ``DRIP_URL``, else what ``dripctl login`` keeps, else the
        daemon on this machine
    :param token: an API token or a login's; else ``DRIP_TOKEN``, else what ``dripctl login`` keeps
    :param timeout: how many seconds may pass without a byte of the answer
    :param connect_timeout: how many seconds a connection may take to come about
    :param retries: how many times a call is tried again, when that is harmless and may help
    :param patience: no call is tried again after so many seconds, and none waits for longer
    :param cafile: the certificates to trust, a PEM file; else those of the system
    :param context: an ``ssl.SSLContext`` to use instead, such as one with a client certificate
    :param proxy: ``"http://host:port"``, or ``"env"`` for what the environment says; else none
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
        #: The daemon's address.
        self.url, self._token = _where.find(url, token)
        self._retries = retries
        self._patience = patience
        if context is None and self.url.startswith("https:"):
            context = ssl.create_default_context(cafile=cafile)
        self._wire = Wire(
            self.url,
            timeout=timeout,
            connect_timeout=connect_timeout,
            context=context,
            proxy=proxy,
        )
        if self._token is not None and not (self._token.isascii() and self._token.isprintable()):
            raise ValueError("the token has characters that no token has: was it copied whole?")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the sockets of every thread. A later call opens a new one."""
        self._wire.close()

    def forget_token(self) -> None:
        """From here on, calls are made as no one."""
        self._token = None

    def version(self) -> Dict[str, Any]:
        """What the daemon is: ``{name, version, modules, features}``."""
        answer: Dict[str, Any] = self.get("/api/v1/version")
        return answer

    def whoami(self) -> Dict[str, Any]:
        """Who the token is: ``{name, role, scopes}``.

        :raises drip.Unauthorized: there is no token, or it is not valid
        """
        answer: Dict[str, Any] = self.get("/api/v1/whoami")
        return answer

    def get(self, path: str, query: Query = ()) -> Any:
        """``GET``, as JSON."""
        return self.call("GET", path, query).json()

    def put(self, path: str, body: Any, headers: Optional[Dict[str, str]] = None) -> Any:
        """``PUT`` of JSON, answered with JSON."""
        return self.call("PUT", path, (), *as_json(body), headers=headers).json()

    def post(
        self,
        path: str,
        body: Any,
        headers: Optional[Dict[str, str]] = None,
        *,
        idempotent: bool = True,
    ) -> Any:
        """``POST`` of JSON, answered with JSON; with a retry key, unless it is not to be repeated."""
        sent = as_json(body)
        return self.call("POST", path, (), *sent, headers=headers, idempotent=idempotent).json()

    def delete(self, path: str, headers: Optional[Dict[str, str]] = None) -> None:
        """``DELETE``. What an earlier try, whose answer was lost, has deleted is deleted."""
        try:
            self.call("DELETE", path, headers=headers)
        except DripError as error:
            if error.status != 404 or not error.uncertain:
                raise

    def pages(
        self, path: str, query: Query = (), *, limit: Optional[int] = None, page: int = 200
    ) -> Iterator[Any]:
        """Every item of a list, page by page as they are asked for; at most ``limit``."""
        left = limit
        cursor: Optional[str] = None
        asked = list(query)
        while left is None or left > 0:
            size = page if left is None else min(page, left)
            answer = self.get(path, [*asked, ("limit", size), ("cursor", cursor)])
            items = answer["items"]
            yield from items
            left = None if left is None else left - len(items)
            cursor = answer.get("next_cursor")
            if not cursor:
                return

    def call(
        self,
        method: str,
        path: str,
        query: Query = (),
        body: Optional[bytes] = None,
        content_type: Optional[str] = None,
        *,
        headers: Optional[Dict[str, str]] = None,
        idempotent: bool = True,
    ) -> Answer:
        """One call, with its retries. An answer that is no success is raised as what it tells of."""
        sent = self._headers(content_type, headers)
        if method == "POST" and idempotent:
            sent.setdefault("Idempotency-Key", str(uuid.uuid4()))
        target, more = self._wire.target(path + query_text(query))
        sent.update(more)
        return self._tried(lambda: self._once(method, target, body, sent), idempotent)

    def stream(
        self,
        path: str,
        query: Query = (),
        headers: Optional[Dict[str, str]] = None,
        *,
        timeout: float = 60.0,
        opened: Optional[Opened] = None,
    ) -> Streamed:
        """``GET`` of what is read as it comes, over a connection of its own, so that whoever reads may
        make other calls meanwhile. Opening it is tried again, but for those who want to know of the
        socket, to be able to end it from another thread: they are told of each."""
        target, more = self._wire.target(path + query_text(query))
        sent = {**self._headers(None, headers), **more}
        if opened is None:
            return self._tried(lambda: (self._begin(target, sent, timeout), False), True)
        outcome = self._begin(target, sent, timeout, opened)
        if isinstance(outcome, DripError):
            try:
                raise outcome
            finally:
                del outcome
        return outcome

    def _tried(self, attempt: Callable[[], _Outcome[T]], idempotent: bool) -> T:
        """Tries until there is an answer, or no sense in another try."""
        begun = time.monotonic()
        uncertain = False
        tries = 0
        while True:
            outcome, was_idle = attempt()
            if not isinstance(outcome, DripError):
                return outcome
            # The answer to any of the tries may be the one that was lost.
            uncertain = uncertain or outcome.uncertain
            outcome.uncertain = uncertain
            wait = 0.0 if was_idle else wait_before(tries, _WAITS, outcome)
            spent = time.monotonic() - begun
            is_over = not was_idle and (tries >= self._retries or spent + wait > self._patience)
            if is_over or not may_repeat(outcome, idempotent):
                try:
                    raise outcome
                finally:
                    # It refers to this frame, and so to itself: it must not live on until a
                    # collection, and the sockets with it.
                    del outcome
            if not was_idle:
                tries += 1
                self._sleep(wait)

    def _begin(
        self,
        target: str,
        headers: Dict[str, str],
        timeout: float,
        opened: Optional[Opened] = None,
    ) -> Union[Streamed, DripError]:
        """One try to open a stream."""
        try:
            connection = self._wire.open(timeout)
        except NotConnected as error:
            return self._away(error)
        if opened is not None:
            opened(connection.sock)
        try:
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            if 200 <= response.status < 300:
                return Streamed(connection, response, self.url)
            body = response.read(_PROBLEM_MAX)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return self._lost(error, "GET")
        except BaseException:
            connection.close()
            raise
        connection.close()
        return refused(response.status, response.headers, body)

    def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def _headers(
        self, content_type: Optional[str], more: Optional[Dict[str, str]]
    ) -> Dict[str, str]:
        headers = {"User-Agent": _AGENT, "Accept": "application/json, */*;q=0.1"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if content_type is not None:
            headers["Content-Type"] = content_type
        headers.update(more or {})
        return headers

    def _once(
        self, method: str, target: str, body: Optional[bytes], headers: Dict[str, str]
    ) -> _Outcome[Answer]:
        """One try of a call, over this thread's connection."""
        try:
            connection, is_used = self._wire.take()
        except NotConnected as error:
            return self._away(error), False
        try:
            answer = _exchange(connection, method, target, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self._wire.drop()
            return self._lost(error, method), is_used and _was_gone(error)
        except BaseException:
            # The rest of half an answer must not be read as the next one's.
            self._wire.drop()
            raise
        if 200 <= answer.status < 300 or answer.status == 304:
            return answer, False
        error_told = refused(*answer)
        # A gateway speaks of an answer that it did not get.
        error_told.uncertain = answer.status in (502, 504) and method != "GET"
        return error_told, False

    def _away(self, error: NotConnected) -> DripError:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return DripError(
                f"{self.url}: its certificate is not trusted: {cause.verify_message}; give cafile=",
                code="bad_certificate",
            )
        return Unavailable(
            f"no daemon answers at {self.url} ({error}): start one with `dripctl serve`, or give url=",
            code="daemon_away",
        )

    def _lost(self, error: Exception, method: str) -> DripError:
        # Reading changes nothing, so nothing can have been done.
        uncertain = method not in ("GET", "HEAD")
        code = "timed_out" if is_timeout(error) else "connection_lost"
        lost = Unavailable(f"{self.url}: {why(error)}", code=code, uncertain=uncertain)
        lost.__cause__ = error
        return lost


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: Optional[bytes],
    headers: Dict[str, str],
) -> Answer:
    cut = None
    try:
        connection.request(method, target, body=body, headers=headers)
    except (BrokenPipeError, ConnectionResetError) as error:
        # Who refuses a large body may answer, and close, before it is read.
        cut = error
    try:
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
    except (OSError, http.client.HTTPException) as error:
        if cut is None:
            raise
        raise type(cut)(*cut.args) from error
    if cut is not None:
        connection.close()
    return answer


def _was_gone(error: Exception) -> bool:
    gone = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
    return isinstance(error, (*gone, ConnectionAbortedError))
