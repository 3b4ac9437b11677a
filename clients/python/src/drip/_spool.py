"""Batches that cannot be sent now, one file each, the oldest first.

A file's name tells the key under which its batch is sent: whoever sends it, and however often, it has
one effect. So programs may share a folder, and one may send what another one left.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Iterator, List, Optional, Tuple

__all__ = ["Spool"]

_END = ".ndjson"


class Spool:
    """A folder of batches."""

    def __init__(self, folder: str, most: int) -> None:
        #: Where it is.
        self.folder = os.fspath(folder)
        self._most = most
        self._lock = threading.Lock()
        self._number = 0

    def _names(self) -> List[str]:
        try:
            return sorted(name for name in os.listdir(self.folder) if name.endswith(_END))
        except OSError:
            return []

    def first(self) -> Optional[str]:
        """The path of the oldest batch."""
        names = self._names()
        return os.path.join(self.folder, names[0]) if names else None

    def each(self) -> Iterator[Tuple[str, str, bytes]]:
        """Path, key and content of every batch, the oldest first."""
        for name in self._names():
            path = os.path.join(self.folder, name)
            try:
                with open(path, "rb") as file:
                    content = file.read()
            except OSError:
                continue  # Another program has sent it.
            yield path, name[: -len(_END)].rsplit("_", 1)[-1], content

    def keep(self, batch: bytes, key: str) -> bool:
        """Keeps a batch, durably; false when there is no room."""
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            if self._size() + len(batch) > self._most:
                return False
            with self._lock:
                self._number += 1
                number = self._number
            # By time, then by the order within one program.
            name = f"{time.time_ns():020d}-{number:08d}_{key}"
            path = os.path.join(self.folder, name)
            with open(path + ".tmp", "wb") as file:
                file.write(batch)
                file.flush()
                os.fsync(file.fileno())
            os.replace(path + ".tmp", path + _END)
            return True
        except OSError:
            return False

    def remove(self, path: str) -> None:
        """Forgets a batch that was sent."""
        try:
            os.unlink(path)
        except OSError:
            pass

    def _size(self) -> int:
        size = 0
        for name in self._names():
            try:
                size += os.path.getsize(os.path.join(self.folder, name))
            except OSError:
                pass
        return size
