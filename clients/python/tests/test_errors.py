"""Refusals come back as what they are."""

import email.utils
import pickle
import time
import unittest

from stub import Case, Reply, problem

import drip
from drip import errors


class Errors(Case):
    def refusal(self, answer):
        client = self.client(self.stub(answer), retries=0)
        with self.assertRaises(drip.DripError) as caught:
            client.get("model:m@1")
        return caught.exception

    def test_each_status_is_its_class(self):
        expected = {
            400: drip.Invalid,
            401: drip.Unauthorized,
            403: drip.Forbidden,
            404: drip.NotFound,
            409: drip.Conflict,
            412: drip.Stale,
            413: drip.Invalid,
            415: drip.Invalid,
            422: drip.Invalid,
            429: drip.Limited,
            500: drip.DripError,
            502: drip.Unavailable,
            503: drip.Unavailable,
            504: drip.Unavailable,
            507: drip.Unavailable,
        }
        for status, kind in expected.items():
            error = self.refusal(problem(status, "word"))
            self.assertIs(type(error), kind, status)
            self.assertEqual((error.status, error.code, error.title), (status, "word", "Title"))
            self.assertIsInstance(error, drip.DripError)

    def test_the_text_names_every_fault(self):
        faults = [("/name", "contains `/`"), ("/labels/site", "must be text"), ("", "is empty")]
        error = self.refusal(problem(422, "bad_card", "the card is not valid in 3 places", faults))
        self.assertEqual(
            str(error).splitlines(),
            [
                "the card is not valid in 3 places (bad_card)",
                "  /name: contains `/`",
                "  /labels/site: must be text",
                "  /: is empty",
            ],
        )
        self.assertEqual(error.errors[1].pointer, "/labels/site")
        self.assertEqual(error.errors[1].detail, "must be text")

    def test_a_proxys_page_is_told_in_short(self):
        page = b"<html><h1>Bad   Gateway</h1>" + b"x" * 5000
        error = self.refusal(Reply(502, page, {"Content-Type": "text/html"}))
        self.assertIsInstance(error, drip.Unavailable)
        self.assertIn("answered 502: <html><h1>Bad Gateway</h1>", str(error))
        self.assertLess(len(str(error)), 300)

    def test_odd_problem_documents_are_no_trouble(self):
        for body in (
            b"",
            b"[]",
            b"null",
            b'"x"',
            b"{",
            b'{"detail": 7, "errors": [1, {}], "code": []}',
        ):
            error = self.refusal(Reply(422, body))
            self.assertIsInstance(error, drip.Invalid)
            self.assertTrue(str(error))

    def test_retry_after_is_a_number_or_a_date(self):
        self.assertEqual(errors.seconds_of("120"), 120.0)
        soon = email.utils.formatdate(time.time() + 60, usegmt=True)
        self.assertTrue(55 < errors.seconds_of(soon) <= 60)
        self.assertEqual(errors.seconds_of("Wed, 21 Oct 2015 07:28:00 GMT"), 0.0)
        for nothing in (None, "", "soon", "-1", "1.5"):
            self.assertIsNone(errors.seconds_of(nothing))

    def test_an_error_crosses_processes_whole(self):
        faults = [("/name", "is empty")]
        error = self.refusal(problem(429, "limited", "slow", faults, {"Retry-After": "9"}))
        error.uncertain = True
        again = pickle.loads(pickle.dumps(error))
        self.assertIs(type(again), drip.Limited)
        self.assertEqual(str(again), str(error))
        self.assertEqual((again.retry_after, again.errors, again.status), (9.0, error.errors, 429))


if __name__ == "__main__":
    unittest.main()
