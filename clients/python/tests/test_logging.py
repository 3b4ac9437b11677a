"""The handler for the standard library's logging."""

import json
import logging
import os
import tempfile
import threading
import time
import unittest

from stub import Case, Reply, problem

import drip.logging
from drip._spool import Spool


class Sending(Case):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.server = self.stub(otherwise=lambda request: Reply(200, {"accepted": 1, "rejected": []}))
        self.quiet = logging.raiseExceptions
        logging.raiseExceptions = False
        self.addCleanup(setattr, logging, "raiseExceptions", self.quiet)

    def handler(self, **more):
        connection = drip.Connection(self.server.url, "drip_test", retries=0)
        more.setdefault("spool", self.folder.name)
        handler = drip.logging.DripHandler(connection=connection, interval=0.01, **more)
        self.addCleanup(handler.close)
        return handler

    def logger(self, handler):
        logger = logging.Logger("farm.pitch")
        logger.addHandler(handler)
        return logger

    def records(self):
        lines = [line for request in self.server.requests for line in request.body.splitlines()]
        return [json.loads(line) for line in lines]

    def test_a_record_is_sent_with_its_arguments_its_extras_and_its_traceback(self):
        handler = self.handler(fields={"site": "XJJX"}, run_id="r1")
        logger = self.logger(handler)
        try:
            raise ValueError("too hot")
        except ValueError:
            logger.exception("turbine %s", "R1", extra={"t": 91.5, "odd": object(), "none": None})
        logger.warning("%d", "no number")
        handler.flush()
        first, second = self.records()
        self.assertEqual(first["message"], "turbine R1")
        self.assertEqual((first["level"], first["stream"], first["run_id"]), ("ERROR", "farm.pitch", "r1"))
        self.assertEqual((first["fields"]["t"], first["fields"]["site"]), (91.5, "XJJX"))
        self.assertIn("ValueError: too hot", first["fields"]["exception"])
        self.assertIn("<object object", first["fields"]["odd"])
        self.assertTrue(second["message"].startswith("%d ('no number',)"))
        self.assertEqual(handler.lost, 0)

    def test_records_are_sent_together_and_each_batch_has_its_key(self):
        handler = self.handler(batch=50)
        logger = self.logger(handler)
        for number in range(200):
            logger.info("%d", number)
        handler.flush()
        self.assertEqual([int(one["message"]) for one in self.records()], list(range(200)))
        self.assertLess(len(self.server.requests), 20)
        keys = [request.headers["idempotency-key"] for request in self.server.requests]
        self.assertEqual(len(set(keys)), len(keys))

    def test_what_cannot_be_sent_is_kept_and_sent_later_in_order_under_its_key(self):
        away = threading.Event()
        seen = []

        def answer(request):
            seen.append((request.headers["idempotency-key"], request.body))
            return problem(503, "away") if away.is_set() else Reply(200, {"accepted": 1, "rejected": []})

        self.server = self.stub(otherwise=answer)
        handler = self.handler()
        logger = self.logger(handler)
        away.set()
        for number in range(5):
            logger.info("%d", number)
            handler.flush()
        self.assertTrue(os.listdir(self.folder.name))
        away.clear()
        tried = dict(seen)
        del seen[:]
        until = time.monotonic() + 20
        while os.listdir(self.folder.name) and time.monotonic() < until:
            time.sleep(0.02)
        self.assertEqual(os.listdir(self.folder.name), [])
        lines = [json.loads(line) for _, body in seen for line in body.splitlines()]
        self.assertEqual([int(one["message"]) for one in lines], list(range(5)))
        for key, body in tried.items():
            self.assertIn((key, body), seen)
        self.assertEqual(handler.lost, 0)

    def test_what_is_left_at_the_end_is_kept_for_the_next_program(self):
        self.server = self.stub(otherwise=lambda request: problem(503, "away"))
        handler = self.handler()
        self.logger(handler).info("left")
        handler.close()
        kept = list(Spool(self.folder.name, 1 << 20).each())
        self.assertEqual([json.loads(body)["message"] for _, _, body in kept], ["left"])
        self.server = self.stub(otherwise=lambda request: Reply(200, {"accepted": 1, "rejected": []}))
        following = self.handler()
        self.logger(following).info("new")
        following.flush()
        following.close()
        self.assertEqual([one["message"] for one in self.records()], ["left", "new"])

    def test_an_application_is_not_kept_waiting_and_sees_no_exception(self):
        blocked = threading.Event()
        self.addCleanup(blocked.set)
        self.server = self.stub(otherwise=lambda request: blocked.wait(10) and Reply(200, {"rejected": []}))
        handler = self.handler(queue=100, spool=False)
        logger = self.logger(handler)
        begun = time.monotonic()
        for number in range(5000):
            logger.info("x" * 100)
        self.assertLess(time.monotonic() - begun, 5)
        self.assertGreater(handler.lost, 0)

        class Bad:
            def __str__(self):
                raise RuntimeError("never mind")

        logger.info(Bad())
        logger.info("%s", Bad())
        logger.info("half \ud800", extra={"odd": Bad()})

    def test_records_that_are_refused_are_counted_and_not_sent_again(self):
        self.server = self.stub(otherwise=lambda request: problem(413, "too_large"))
        handler = self.handler()
        self.logger(handler).info("x")
        handler.flush()
        self.assertEqual((handler.lost, len(self.server.requests)), (1, 1))
        self.assertEqual(os.listdir(self.folder.name), [])

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork here")
    def test_a_fork_sends_its_own_records_and_not_its_parents(self):
        handler = self.handler()
        logger = self.logger(handler)
        logger.info("parent")
        child = os.fork()
        if child == 0:
            logger.info("child")
            handler.flush()
            os._exit(0)
        os.waitpid(child, 0)
        handler.flush()
        self.assertEqual(sorted(one["message"] for one in self.records()), ["child", "parent"])


class Keeping(unittest.TestCase):
    def test_a_spool_is_bounded_and_in_order(self):
        with tempfile.TemporaryDirectory() as folder:
            spool = Spool(os.path.join(folder, "new"), 10)
            self.assertTrue(spool.keep(b"12345", "a"))
            self.assertTrue(spool.keep(b"6789", "b"))
            self.assertFalse(spool.keep(b"xx", "c"))
            self.assertEqual([(key, body) for _, key, body in spool.each()], [("a", b"12345"), ("b", b"6789")])
            spool.remove(spool.first())
            self.assertTrue(spool.keep(b"xx", "d"))


if __name__ == "__main__":
    unittest.main()
