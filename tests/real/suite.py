"""What the suites share: where the daemon is, and a check that says what it checks."""

import os
import sys

URL = os.environ["SUITE_URL"]
PASSWORD = os.environ["SUITE_PASSWORD"]
TOKEN = os.environ["SUITE_TOKEN"]
FOLDER = os.environ["SUITE_FOLDER"]

_failed = []
_count = 0


def check(what, holds, seen=None):
    """Notes a check; all are made before `done` ends the suite."""
    global _count
    _count += 1
    if not holds:
        _failed.append(what)
        print(f"FAILED {what}" + (f": {repr(seen)[:500]}" if seen is not None else ""), flush=True)


def same(what, found, expected):
    check(what, found == expected, {"found": found, "expected": expected})


def done():
    print(f"{_count - len(_failed)} of {_count} checks hold", flush=True)
    sys.exit(1 if _failed or not _count else 0)
