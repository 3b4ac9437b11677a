"""Drip from Python: cards that can be found, trusted and watched. The standard library is enough.

::

    import drip

    fiche = drip.Fiche("http://127.0.0.1:22315", "drip_...")
    fiche.save("model:wind-power@1.0.0", summary="风电功率预测", requires=["algorithm:power-curve@1.0.0"])
    for hit in fiche.search("风电"):
        print(hit.card.ref, hit.card.stage, hit.card.updated_at)
    fiche.stage("model:wind-power@1.0.0", "testing", "first run on site")

Without an address and a token they are ``DRIP_URL`` and ``DRIP_TOKEN``, else what ``dripctl login``
keeps. Failures are :class:`DripError`; its subclasses say what to do.
"""

from __future__ import annotations

from ._http import Connection
from ._record import Record
from ._version import __version__
from .account import Token, login
from .changes import Changes, ChangeStream
from .errors import (
    Conflict,
    DripError,
    Fault,
    Forbidden,
    Invalid,
    Limited,
    NotFound,
    Stale,
    Unauthorized,
    Unavailable,
)
from .fiche import Fiche
from .found import Found
from .observers import Delivery, Observer, Observers, Redelivery, Standing
from .records import (
    Batch,
    Card,
    Change,
    Changed,
    Diff,
    Edge,
    Hit,
    Imported,
    Lineage,
    Node,
    Rejected,
    Revision,
)
from .signature import verify_signature

__all__ = [
    "Batch",
    "Card",
    "Change",
    "ChangeStream",
    "Changed",
    "Changes",
    "Conflict",
    "Connection",
    "Delivery",
    "Diff",
    "DripError",
    "Edge",
    "Fault",
    "Fiche",
    "Forbidden",
    "Found",
    "Hit",
    "Imported",
    "Invalid",
    "Lineage",
    "Limited",
    "Node",
    "NotFound",
    "Observer",
    "Observers",
    "Record",
    "Redelivery",
    "Rejected",
    "Revision",
    "Stale",
    "Standing",
    "Token",
    "Unauthorized",
    "Unavailable",
    "__version__",
    "login",
    "verify_signature",
]
