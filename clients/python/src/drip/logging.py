"""A handler for the standard library's logging that sends records to a Drip daemon.

::

    import logging
    import drip.logging

    logging.getLogger().addHandler(drip.logging.DripHandler(stream="forecast"))
    logging.warning("turbine %s is hot", "R80711", extra={"temperature": 91.5})

Records are sent in batches by a thread of their own. An application is never kept waiting and never
sees an exception of the handler; when the daemon is away, batches are kept on the disk and sent when
it is back, in order, each exactly once. What is left at the exit of the program is sent then, or kept
for the next program with the same spool.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
import tempfile
import threading
import time
import traceback
import uuid
import weakref
from collections import deque
from typing import Any, Deque, Dict, Mapping, Optional

from ._http import Connection
from ._spool import Spool
from .errors import DripError, Unavailable

__all__ = ["DripHandler"]

#: The attributes that every record has: what else it has came by ``extra=``.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: The most fields that a record may have, and the most bytes of it.
_FIELDS_MAX, _RECORD_MAX = 64, 250_000
#: How long the sender waits after a failure, at first and at most, in seconds.
_WAITS = (0.5, 30.0)
#: Answers that may be others later: no valid token, not the right, no such module, too slow, too much.
_LATER = (401, 403, 404, 408, 429)
_PATH = "/api/v1/logs"
_HANDLERS: "weakref.WeakSet[DripHandler]" = weakref.WeakSet()


class DripHandler(logging.Handler):
    """Sends records to a Drip daemon. It can be shared by all loggers of a program, and forked.

    :param url: the daemon's address; else ``DRIP_URL``, else what ``dripctl login`` keeps
    :param token: an API token with the scope ``trajectory:write``; else ``DRIP_TOKEN``, else what is kept
    :param stream: the stream that records go to; else each goes to the stream of its logger's name
    :param fields: fields that every record gets
    :param run_id: the run that records belong to; else ``DRIP_RUN_ID``
    :param spool: a folder for what cannot be sent now; else one in the folder for temporary files of this
        user; ``False`` for none, and then such records are lost
    :param spool_bytes: how many bytes it may take; the newest are lost beyond that
    :param queue: how many records may wait in memory; further ones are counted in :attr:`lost`
    :param interval: how long records wait to be sent together, in seconds
    :param batch: how many records are sent together at most
    :param timeout: how long one attempt to send may take, in seconds
    """

    def __init__(
        self,
        url: Optional[str] = None,
        token: Optional[str] = None,
        *,
        stream: Optional[str] = None,
        fields: Optional[Mapping[str, Any]] = None,
        run_id: Optional[str] = None,
        spool: Any = None,
        spool_bytes: int = 64 << 20,
        queue: int = 20_000,
        interval: float = 0.5,
        batch: int = 1000,
        timeout: float = 10.0,
        level: int = logging.NOTSET,
        connection: Optional[Connection] = None,
    ) -> None:
        super().__init__(level)
        self._connection = connection or Connection(url, token, timeout=timeout, retries=0)
        self._stream = stream
        self._fields = dict(fields or {})
        self._run_id = run_id or os.environ.get("DRIP_RUN_ID") or None
        self._spool = None if spool is False else Spool(spool or _folder(), spool_bytes)
        self._queue_max, self._interval, self._batch = queue, interval, batch
        #: How many records were lost: there was no room for them, or the daemon refused them.
        self.lost = 0
        #: What went wrong last, if anything did.
        self.last_error: Optional[str] = None
        self._told = False
        self._begin()
        _HANDLERS.add(self)

    def _begin(self) -> None:
        self._queue: Deque[Dict[str, Any]] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._sending = 0
        self._flushing = 0
        self._ended = False
        self._thread: Optional[threading.Thread] = None

    # Taking records: this is what the application waits for.

    def emit(self, record: logging.LogRecord) -> None:
        """Puts a record in line. Nothing is sent here, and nothing is raised."""
        try:
            entry = self._entry(record)
            with self._changed:
                if self._ended or len(self._queue) >= self._queue_max:
                    self.lost += 1
                    return
                self._queue.append(entry)
                if self._thread is None:
                    self._start()
                if len(self._queue) >= self._batch:
                    self._changed.notify_all()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """A record that cannot be made ready is counted; it never disturbs the application."""
        self.lost += 1
        self.last_error = traceback.format_exc(limit=3)

    def _entry(self, record: logging.LogRecord) -> Dict[str, Any]:
        try:
            message = record.getMessage()
        except Exception as error:
            # Arguments that do not fit: what was meant is shown as it is.
            message = f"{record.msg} {record.args!r} ({type(error).__name__}: {error})"
        entry: Dict[str, Any] = {
            "time": f"{record.created:.6f}",
            "level": _level(record.levelno),
            "stream": self._stream or _stream(record.name),
            "message": message[:_RECORD_MAX],
            "module": record.module,
            "file": record.filename,
            "line": record.lineno,
        }
        run_id = getattr(record, "run_id", None) or self._run_id
        if run_id is not None:
            entry["run_id"] = str(run_id)
        entry["fields"] = self._fields_of(record, len(entry["message"]))
        return entry

    def _fields_of(self, record: logging.LogRecord, size: int) -> Dict[str, Any]:
        fields: Dict[str, Any] = {"logger": record.name, "process": record.process}
        fields.update(thread=record.threadName, function=record.funcName)
        if record.exc_info and not record.exc_text:
            record.exc_text = _traceback(record.exc_info)
        if record.exc_text:
            fields["exception"] = record.exc_text
        if record.stack_info:
            fields["stack"] = record.stack_info
        for name, value in {**self._fields, **vars(record)}.items():
            if name not in _OWN and name != "run_id" and len(fields) < _FIELDS_MAX:
                fields[str(name)] = _plain(value)
        for name, value in fields.items():
            # No field takes the room of the others.
            if isinstance(value, str):
                fields[name] = value[: max(200, (_RECORD_MAX - size) // len(fields))]
        return fields

    # Sending: a thread of its own.

    def _start(self) -> None:
        # A daemon thread: the interpreter's end waits for `close`, which `logging` calls, not for it.
        self._thread = threading.Thread(target=self._work, name="drip-logging", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        wait = 0.0
        while True:
            with self._changed:
                if not self._queue and not self._has_spooled() and self._ended:
                    return
                pause = wait or self._interval
                if not (self._ended or self._flushing or len(self._queue) >= self._batch) or wait:
                    self._changed.wait(pause)
                if self._ended and wait:
                    # The end comes while the daemon is away: what waits is kept.
                    self._keep_all()
                    return
                batch = self._take()
            wait = self._send_next(batch, wait)
            with self._changed:
                self._sending = 0
                self._changed.notify_all()

    def _take(self) -> Optional[bytes]:
        """The next batch, as it is sent; the lock is held."""
        lines = []
        while self._queue and len(lines) < self._batch:
            lines.append(self._queue.popleft())
        self._sending = len(lines)
        return b"\n".join(_line(entry) for entry in lines) + b"\n" if lines else None

    def _send_next(self, batch: Optional[bytes], wait: float) -> float:
        """Sends what is kept on the disk first, then the batch; answers how long to wait."""
        try:
            if self._spool is None:
                if batch is not None:
                    self._post(batch, str(uuid.uuid4()))
                return 0.0
            if batch is not None and (wait or self._spool.first()):
                # Others wait already: it stands behind them.
                self._keep(batch, str(uuid.uuid4()))
                batch = None
            if batch is not None:
                key = str(uuid.uuid4())
                try:
                    self._post(batch, key)
                except _Away:
                    self._keep(batch, key)
                    raise
            for path, key, kept in self._spool.each():
                self._post(kept, key)
                self._spool.remove(path)
            self._told = False
            return 0.0
        except _Away as error:
            self._tell(str(error))
            if self._spool is None and batch is not None:
                self.lost += batch.count(b"\n")
            return min(_WAITS[1], max(_WAITS[0], wait * 2))
        except Exception:
            self.last_error = traceback.format_exc(limit=3)
            return _WAITS[0]

    def _post(self, batch: bytes, key: str) -> None:
        headers = {"Idempotency-Key": key}
        try:
            answer = self._connection.call(
                "POST", _PATH, (), batch, "application/x-ndjson", headers=headers
            ).json()
            rejected = len(answer.get("rejected", ())) + answer.get("more_rejected", 0)
            if rejected:
                self.lost += rejected
                self.last_error = f"the daemon refused {rejected} records: {answer['rejected'][:3]}"
        except DripError as error:
            # No answer, not now, or not as who we are: later. Anything else will not become right.
            later = not error.status or error.status >= 500 or error.status in _LATER
            if later or isinstance(error, Unavailable):
                raise _Away(str(error)) from error
            self.lost += batch.count(b"\n")
            self.last_error = str(error)

    def _keep(self, batch: bytes, key: str) -> None:
        if self._spool is None or not self._spool.keep(batch, key):
            self.lost += batch.count(b"\n")

    def _keep_all(self) -> None:
        """Keeps what waits in memory; the lock is held."""
        while self._queue:
            batch = self._take()
            if batch is not None:
                self._keep(batch, str(uuid.uuid4()))
        self._sending = 0

    def _has_spooled(self) -> bool:
        return self._spool is not None and self._spool.first() is not None

    def _tell(self, error: str) -> None:
        """Says once on standard error that records wait, not through logging."""
        self.last_error = error
        if not self._told and logging.raiseExceptions and sys.stderr is not None:
            self._told = True
            kept = f"; records are kept in {self._spool.folder}" if self._spool else ""
            try:
                print(f"drip.logging: {error}{kept}", file=sys.stderr)
            except (OSError, ValueError):
                pass

    # The end.

    def flush(self, timeout: float = 5.0) -> None:
        """Waits until everything was sent or kept on the disk, at most so many seconds."""
        until = time.monotonic() + timeout
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                return
            self._flushing += 1
            self._changed.notify_all()
            while (self._queue or self._sending) and time.monotonic() < until:
                self._changed.wait(max(0.0, until - time.monotonic()))
            self._flushing -= 1

    def close(self) -> None:
        """Sends or keeps what is left, and ends. ``logging`` calls it at the program's end."""
        self.flush()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)
        with self._changed:
            self._keep_all()
        self._connection.close()
        _HANDLERS.discard(self)
        super().close()

    def _after_fork(self) -> None:
        # The thread and what waited belong to the parent, which sends it.
        self._begin()


class _Away(Exception):
    """The daemon cannot take records now."""


def _level(number: int) -> str:
    for level, name in ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO")):
        if number >= level:
            return name
    return "DEBUG"


def _stream(logger: str) -> str:
    """A logger's name as the name of a stream."""
    if logger == "root" or not logger:
        return "default"
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in logger)[:80].strip(".-")
    return plain or "default"


def _traceback(exc_info: Any) -> str:
    if isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    return "".join(traceback.format_exception(*exc_info)).rstrip("\n")


def _plain(value: Any) -> Any:
    """A value as JSON has it; anything else as it is shown."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    try:
        json.dumps(value, allow_nan=False)
        return value
    except (TypeError, ValueError, RecursionError):
        try:
            return str(value)
        except Exception:
            return f"<{type(value).__name__}>"


def _line(entry: Dict[str, Any]) -> bytes:
    text = json.dumps(entry, ensure_ascii=False, default=str, separators=(",", ":"))
    # Halves of pairs, which Python's texts may have, are in no UTF-8.
    return text.encode("utf-8", "backslashreplace")


def _folder() -> str:
    user = getattr(os, "getuid", lambda: os.environ.get("USERNAME", "user"))()
    folder = os.path.join(tempfile.gettempdir(), f"drip-logging-{user}")
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        about = os.lstat(folder)
        is_own = os.name == "nt" or about.st_uid == user
        if not (is_own and stat.S_ISDIR(about.st_mode)):
            # Somebody else made it, to read what is kept there or to have it sent.
            return tempfile.mkdtemp(prefix="drip-logging-")
    return folder


def _after_fork() -> None:
    for handler in list(_HANDLERS):
        handler._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
