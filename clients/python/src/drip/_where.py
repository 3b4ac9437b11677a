"""Which daemon, and as whom: arguments, then the environment, then what ``dripctl login`` keeps."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Dict, Optional, Tuple

from .errors import DripError

__all__ = ["DEFAULT_URL", "find", "kept_tokens"]

#: Where a daemon listens unless it is told otherwise.
DEFAULT_URL = "http://127.0.0.1:22315"

#: ``"address" = "token"``, as dripctl writes it; a text in single quotes has no escapes.
_TEXT = r"""("(?:[^"\\]|\\.)*"|'[^']*')"""
_ENTRY = re.compile(rf"^\s*{_TEXT}\s*=\s*{_TEXT}\s*(?:#.*)?$")
_SECTION = re.compile(r"^\s*\[\s*([^\]]*?)\s*\]\s*(?:#.*)?$")


def find(url: Optional[str], token: Optional[str]) -> Tuple[str, Optional[str]]:
    """The address and the token to use, where ``url`` and ``token`` may be left out.

    Without an address it is the daemon on this machine, or the only one that ``dripctl login`` knows.
    """
    url = url or os.environ.get("DRIP_URL") or None
    token = token or os.environ.get("DRIP_TOKEN") or None
    if url is not None and token is not None:
        return _plain(url), token
    kept = kept_tokens()
    address = _plain(url) if url is not None else _only(kept)
    return address, token or kept.get(address)


def kept_tokens() -> Dict[str, str]:
    """The tokens that ``dripctl login`` keeps, by address."""
    path = _kept_path()
    if path is None:
        return {}
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise DripError(f"{path}: {error}", code="bad_credentials") from error
    return _read(text)


def _plain(url: str) -> str:
    return url.strip().rstrip("/")


def _only(kept: Dict[str, str]) -> str:
    if DEFAULT_URL in kept or not kept:
        return DEFAULT_URL
    if len(kept) == 1:
        return next(iter(kept))
    known = ", ".join(sorted(kept))
    raise DripError(
        f"which daemon? `dripctl login` knows {known}: give url=, or set DRIP_URL",
        code="which_daemon",
    )


def _kept_path() -> Optional[Path]:
    config = os.environ.get("XDG_CONFIG_HOME")
    if config:
        return Path(config, "drip", "credentials.toml")
    home = os.environ.get("HOME")
    return Path(home, ".config", "drip", "credentials.toml") if home else None


def _read(text: str) -> Dict[str, str]:
    # One table of texts is all that the file has: `tomllib` came with Python 3.11 only.
    section = ""
    tokens = {}
    for line in text.splitlines():
        begins = _SECTION.match(line)
        if begins:
            section = begins.group(1)
            continue
        entry = _ENTRY.match(line)
        if entry and section == "tokens":
            tokens[_unquote(entry.group(1))] = _unquote(entry.group(2))
    return tokens


def _unquote(text: str) -> str:
    if text.startswith("'"):
        return text[1:-1]
    # What dripctl writes are addresses and tokens: TOML's escapes for those are JSON's too.
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]
