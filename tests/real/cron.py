"""Compares firings with those of croniter.

croniter has views of its own on clock changes, so it is asked about the wall clock alone (times
without a zone), and Python's zoneinfo says when a wall shows such a time:

* an hour that begins with `*` fires at every real minute whose wall time matches;
* every other time fires once: one that was skipped at the next instant there is, one that comes
  twice the first time.
"""

import json
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from croniter import croniter


def wall(zone, second):
    return datetime.fromtimestamp(second, zone).replace(tzinfo=None)


def wall_firings(expression, first, last):
    """The wall times that croniter gives, a day to both sides."""
    times = croniter(expression, first - timedelta(days=2))
    found = []
    while True:
        at = times.get_next(datetime)
        if at > last + timedelta(days=2):
            return found
        found.append(at)


def instant(zone, at):
    """The first instant at which the wall shows `at`, or the one at which it jumps over it."""
    aware = at.replace(tzinfo=zone, fold=0)
    second = int(aware.timestamp())
    if wall(zone, second) == at:
        return second
    # Skipped. Before the jump the wall shows less, after it more: the jump lies between.
    low, high = second - 86_400, second + 86_400
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if wall(zone, middle) > at else (middle, high)
    return high


def expected(zone, expression, first, last):
    walls = wall_firings(expression, wall(zone, first), wall(zone, last))
    if not expression.split()[1].startswith("*"):
        return sorted({s for s in (instant(zone, at) for at in walls) if first <= s < last})
    matching = set(walls)
    return [s for s in range(first, last, 60) if wall(zone, s) in matching]


def main():
    with open(sys.argv[1]) as file:
        asked = json.load(file)
    differences, firings = [], 0
    for case in asked["asked"]:
        zone = ZoneInfo(case["zone"])
        right = expected(zone, case["cron"], asked["from"], asked["until"])
        firings += len(right)
        apart = sorted(set(right) ^ set(case["fired"]))
        if right != case["fired"]:
            shown = [datetime.fromtimestamp(s, timezone.utc).isoformat() for s in apart[:5]]
            differences.append({"zone": case["zone"], "cron": case["cron"], "at": shown})
    print(json.dumps({"compared": len(asked["asked"]), "firings": firings, "differences": differences}))


main()
