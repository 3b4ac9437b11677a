"""Whether to try again, and when."""

from __future__ import annotations

import random
from typing import Tuple

from .errors import DripError, Limited, Unavailable

__all__ = ["is_passing", "may_repeat", "wait_before"]

# The state of the shared generator is copied by a fork, and forks would all wait for equally long.
_dice = random.SystemRandom()


def is_passing(error: DripError) -> bool:
    """Whether it may be over after a while."""
    return isinstance(error, (Limited, Unavailable)) and error.status in (0, 429, 502, 503)


def may_repeat(error: DripError, idempotent: bool) -> bool:
    """Whether the same call may be made again, and may fare better."""
    was_sent = error.code != "daemon_away" or error.status != 0
    return is_passing(error) and (idempotent or not was_sent)


def wait_before(tries: int, waits: Tuple[float, float], error: DripError) -> float:
    """How many seconds to wait after so many tries; ``waits`` are the first wait and the longest.

    Each is up to twice as long as the one before, and shorter by chance: all who were sent away at once
    must not come back at once.
    """
    first, longest = waits
    wait = min(longest, first * 2.0 ** min(tries, 30)) * (0.5 + _dice.random() / 2)
    return wait if error.retry_after is None else float(error.retry_after) + wait / 2
