"""Whether a delivery is what the daemon sent."""

import hashlib
import hmac
import http.client
import importlib.util
import os
import threading
import time
import unittest
from unittest import mock

from stub import Case

import drip

BODY = '{"number":1,"event":"card.saved","card":{"name":"风"}}'.encode()


def sign(secret, body, at):
    signed = f"{at}.".encode() + body
    return f"t={at},v1={hmac.new(secret, signed, hashlib.sha256).hexdigest()}"


class Signature(unittest.TestCase):
    def holds(self, header, body=BODY, secret="s3cret", tolerance=300, now=1_700_000_100):
        return drip.verify_signature(secret, header, body, tolerance, now=now)

    def test_what_was_signed_holds(self):
        header = sign(b"s3cret", BODY, 1_700_000_000)
        self.assertIs(self.holds(header), True)
        self.assertTrue(self.holds(header, BODY.decode()))
        self.assertTrue(self.holds(header, bytearray(BODY), b"s3cret"))
        self.assertTrue(self.holds(header.replace(",", ", ")))
        head, _, signature = header.partition("v1=")
        self.assertTrue(self.holds(f"{head}v1={signature.upper()}"))

    def test_a_known_example_holds(self):
        # Made by `printf '1700000000.{}' | openssl dgst -sha256 -hmac secret`.
        known = "b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
        self.assertTrue(self.holds(f"t=1700000000,v1={known}", b"{}", "secret"))

    def test_anything_else_does_not(self):
        header = sign(b"s3cret", BODY, 1_700_000_000)
        self.assertFalse(self.holds(header, BODY + b" "))
        self.assertFalse(self.holds(header, secret="other"))
        self.assertFalse(self.holds(header.replace("t=1700000000", "t=1700000001")))
        self.assertFalse(self.holds(header[:-1]))
        for wrong in (None, "", "x", "=,=", "t=", "v1=", "t=1,v1=", "t=1700000000", "t=１,v1=é"):
            self.assertIs(self.holds(wrong), False, wrong)
        digest = header.partition(",")[2]
        for time_told in ("", "t=x", "t=-1", "t=1.5", "t= 1700000000", "t=" + "9" * 5000):
            self.assertIs(self.holds(f"{time_told},{digest}"), False, time_told)
        self.assertIs(self.holds("t=1700000000," + header), False, "two times")

    def test_while_a_secret_changes_one_that_fits_is_enough(self):
        header = sign(b"s3cret", BODY, 1_700_000_000)
        both = header.replace(",v1=", ",v1=" + "0" * 64 + ",v0=x,v1=")
        self.assertTrue(self.holds(both))

    def test_what_is_old_or_from_the_future_is_refused(self):
        for at, holds in ((0, True), (-300, True), (-301, False), (300, True), (301, False)):
            header = sign(b"s3cret", BODY, 1_700_000_000 + at)
            self.assertEqual(self.holds(header, now=1_700_000_000), holds, at)
            self.assertTrue(self.holds(header, tolerance=None, now=1_700_000_000))
        self.assertTrue(drip.verify_signature("k", sign(b"k", b"", int(time.time())), b""))

    def test_an_empty_secret_is_none(self):
        for empty in ("", b""):
            with self.assertRaises(ValueError):
                self.holds("t=1,v1=00", secret=empty)


class Receiver(Case):
    """The example receiver, driven as the daemon drives it."""

    def test_the_example_takes_what_is_signed_and_nothing_else_and_each_change_once(self):
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples")
        spec = importlib.util.spec_from_file_location(
            "receiver", os.path.join(folder, "receiver.py")
        )
        receiver = importlib.util.module_from_spec(spec)
        with mock.patch.dict(os.environ, {"DRIP_SECRET": "s3cret"}):
            spec.loader.exec_module(receiver)
        told = []
        server = receiver.serve(0, "s3cret", told.append)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            good = sign(b"s3cret", BODY, int(time.time()))
            statuses = [
                self.post(server.server_port, header) for header in (good, "t=1,v1=0", None, good)
            ]
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        self.assertEqual(statuses, [204, 401, 401, 204])
        self.assertEqual([(change.number, change.card.name) for change in told], [(1, "风")])

    def post(self, port, header):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Drip-Signature": header} if header else {}
        connection.request("POST", "/", BODY, headers)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status


if __name__ == "__main__":
    unittest.main()
