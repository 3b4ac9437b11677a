"""Server-sent events: read as they come, gone on with where they were cut."""

import json
import threading
import time
import unittest
from unittest import mock

from stub import Case, Drop, Hang, Open, Reply, problem, sse

import drip
from drip import _sse
from drip._sse import events


def change(number, name="m"):
    card = {"kind": "model", "name": name, "version": "1", "revision": number}
    data = {"number": number, "event": "card.saved", "card": card, "at": "2024-01-01T00:00:00Z"}
    return f"id: {number}\nevent: card.saved\ndata: {json.dumps(data)}\n\n"


class Reading(unittest.TestCase):
    def read(self, text):
        return [tuple(event) for event in events(text.encode().splitlines(keepends=True))]

    def test_fields_are_read_as_the_standard_has_them(self):
        self.assertEqual(self.read("data: a\n\n"), [("message", "a", None)])
        self.assertEqual(self.read("id: 1\nevent:x\ndata:a\ndata:  b\n\n"), [("x", "a\n b", "1")])
        self.assertEqual(self.read("\ufeffdata: a\r\n\r\n"), [("message", "a", None)])
        self.assertEqual(self.read("id: 7\n\n"), [("message", "", "7")])

    def test_comments_unknown_fields_and_what_is_cut_off_are_no_events(self):
        self.assertEqual(self.read(": ping\n\n:\n\nretry: 5\n\nevent: x\n\n"), [])
        self.assertEqual(self.read("data: a\n"), [])
        self.assertEqual(self.read("data: a\n\ndata: b"), [("message", "a", None)])
        self.assertEqual(self.read("data: a\nid: x\0y\n\n"), [("message", "a", None)])

    def test_an_event_has_only_its_own_fields(self):
        self.assertEqual(
            self.read("id: 1\nevent: x\ndata: a\n\ndata: b\n\n"),
            [("x", "a", "1"), ("message", "b", None)],
        )


class Streams(Case):
    def setUp(self):
        # What is waited for is not what is tested, but for one test.
        patched = mock.patch.object(_sse, "_WAITS", (0.01, 1.0))
        patched.start()
        self.addCleanup(patched.stop)

    def numbers(self, stream, count):
        return [next(stream).number for _ in range(count)]

    def last_ids(self, stub):
        return [request.headers.get("last-event-id") for request in stub.requests]

    def test_changes_come_as_they_are_made(self):
        stub = self.stub(sse(": ping\n\n", change(1) + change(2)[:20], change(2)[20:], end=False))
        with self.client(stub).changes.stream(kinds=["model", "dataset"], names=["风*"]) as stream:
            first, second = next(stream), next(stream)
        self.assertEqual((first.number, second.number), (1, 2))
        self.assertEqual(
            (first.event, first.card.ref, first.at.year), ("card.saved", "model:m@1", 2024)
        )
        self.assertEqual(stub.requests[0].headers["accept"], "text/event-stream")
        self.assertTrue(
            stub.requests[0].target.endswith("/stream?kinds=model%2Cdataset&names=%E9%A3%8E%2A")
        )

    def test_a_stream_goes_on_after_the_last_that_was_seen(self):
        stub = self.stub(
            sse(change(1), change(2)),
            Drop(),
            problem(503, "stopping"),
            Drop(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"50\r\ndata: {"),
            sse(change(3), end=False),
        )
        with self.client(stub).changes.stream(after=0) as stream:
            self.assertEqual(self.numbers(stream, 3), [1, 2, 3])
            self.assertEqual(stream.last_number, 3)
        self.assertEqual(self.last_ids(stub), ["0", "2", "2", "2", "2"])

    def test_one_that_saw_nothing_yet_goes_on_where_it_began(self):
        stub = self.stub(sse("id: 41\n\n"), sse(change(42), end=False))
        with self.client(stub).changes.stream() as stream:
            self.assertEqual(self.numbers(stream, 1), [42])
        self.assertEqual(self.last_ids(stub), [None, "41"])

    def test_no_change_comes_twice(self):
        stub = self.stub(sse(change(1), change(2)), sse(change(1), change(2), change(3), end=False))
        with self.client(stub).changes.stream(after=0) as stream:
            self.assertEqual(self.numbers(stream, 3), [1, 2, 3])

    def test_silence_counts_as_a_lost_connection(self):
        stub = self.stub(sse(change(1), end=False), Hang(), sse(change(2), end=False))
        with self.client(stub).changes.stream(after=0, silence=0.2) as stream:
            self.assertEqual(self.numbers(stream, 2), [1, 2])
        self.assertEqual(len(stub.requests), 3)

    def test_a_refusal_is_told(self):
        stub = self.stub(sse(change(1)), problem(401, "unauthenticated"))
        stream = self.client(stub).changes.stream(after=0)
        self.assertEqual(next(stream).number, 1)
        with self.assertRaises(drip.Unauthorized):
            next(stream)

    def test_patience_ends_what_nobody_answers(self):
        stub = self.stub(otherwise=lambda request: problem(503, "stopping"))
        begun = time.monotonic()
        with self.assertRaises(drip.Unavailable):
            next(self.client(stub).changes.stream(patience=0.3))
        self.assertTrue(0.3 <= time.monotonic() - begun < 5)
        self.assertGreater(len(stub.requests), 2)

    def test_it_is_waited_longer_each_time_and_anew_after_something_came(self):
        answers = [Drop(), Drop(), Drop(), sse(change(1)), Drop(), sse(change(2), end=False)]
        stub = self.stub(*answers)
        stream = self.client(stub).changes.stream(after=0)
        waits = []
        stream._following._closed.wait = waits.append
        with stream:
            self.assertEqual(self.numbers(stream, 2), [1, 2])
        for wait, longest in zip(waits, (0.01, 0.02, 0.04, 0.01, 0.02)):
            self.assertTrue(longest / 2 <= wait <= longest, waits)
        self.assertEqual(len(waits), 5)

    def test_calls_may_be_made_between_changes(self):
        stub = self.stub(sse(change(1), change(2), end=False))
        stub.otherwise = lambda request: Reply(
            200, {"kind": "model", "name": request.target, "version": "1"}
        )
        client = self.client(stub)
        with client.changes.stream(after=0) as stream:
            names = [client.get(next(stream).card).name for _ in range(2)]
        self.assertEqual(names, ["/api/v1/cards/model/m/1"] * 2)

    def test_another_thread_can_end_one_that_waits(self):
        for answer in (
            sse(change(1), end=False),
            sse(end=False),
            Open(b""),
            problem(503, "stopping"),
        ):
            stub = self.stub(answer, otherwise=lambda request: Hang())
            stream = self.client(stub).changes.stream(after=0)
            seen = []
            reader = threading.Thread(target=seen.extend, args=(stream,))
            reader.start()
            stub.wait_for(1)
            time.sleep(0.05)
            stream.close()
            reader.join(10)
            self.assertFalse(reader.is_alive(), answer)
            self.assertLessEqual(len(seen), 1)

    def test_a_closed_stream_stays_closed(self):
        stub = self.stub(sse(change(1), end=False))
        stream = self.client(stub).changes.stream(after=0)
        next(stream)
        stream.close()
        self.assertEqual(list(stream), [])
        stream.close()
        never = self.client(stub).changes.stream()
        never.close()
        self.assertEqual(list(never), [])
        self.assertEqual(len(stub.requests), 1)

    def test_an_event_that_is_no_change_is_told(self):
        stub = self.stub(sse("data: [1]\n\n", end=False))
        with self.client(stub).changes.stream() as stream, self.assertRaises(
            drip.DripError
        ) as caught:
            next(stream)
        self.assertEqual(caught.exception.code, "bad_answer")


if __name__ == "__main__":
    unittest.main()
