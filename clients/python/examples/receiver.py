"""Receives what an observer of Drip is sent: ``DRIP_SECRET=... python receiver.py 9999``.

It checks the signature before it looks at anything else, and deals with each change once: deliveries
come in order and at least once, so one that is not newer than the last was seen before.
"""

import http.server
import json
import os
import sys
from typing import Callable

import drip


def serve(
    port: int, secret: str, deal_with: Callable[[drip.Change], None]
) -> http.server.HTTPServer:
    """A server that hands each change that was really sent to ``deal_with``."""

    class Receiver(http.server.BaseHTTPRequestHandler):
        # A program that is restarted would read it from where it keeps what it did.
        last = 0

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not drip.verify_signature(secret, self.headers.get("Drip-Signature"), body):
                self.answer(401)
                return
            change = drip.Change(json.loads(body))
            if change.number > Receiver.last:
                deal_with(change)
                Receiver.last = change.number
            # Only now: an answer that is no success is sent again.
            self.answer(204)

        def answer(self, status: int) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return http.server.HTTPServer(("127.0.0.1", port), Receiver)


def show(change: drip.Change) -> None:
    print(change.number, change.event, change.card.ref, change.card.stage, flush=True)


if __name__ == "__main__":
    with serve(int(sys.argv[1]), os.environ["DRIP_SECRET"], show) as server:
        server.serve_forever()
