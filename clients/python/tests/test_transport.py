"""Connections, retries, time limits: what stands between a call and its answer."""

import contextlib
import gc
import multiprocessing
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings
import weakref
from unittest import mock

from stub import Case, Drop, Hang, Reply, Stub, problem

import drip

CARD = {"kind": "model", "name": "m", "version": "1", "revision": 1}
CUT = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"


class KeepAlive(Case):
    def test_one_connection_serves_many_calls(self):
        stub = self.stub(otherwise=lambda request: Reply(200, CARD))
        client = self.client(stub)
        for _ in range(20):
            client.get("model:m@1")
        self.assertEqual((stub.connections, len(stub.requests)), (1, 20))

    def test_a_refusal_does_not_cost_the_connection(self):
        stub = self.stub(problem(404, "card_not_found"), Reply(200, CARD))
        client = self.client(stub)
        with self.assertRaises(drip.NotFound):
            client.get("model:m@1")
        client.get("model:m@1")
        self.assertEqual(stub.connections, 1)

    def test_each_thread_has_its_own_and_it_ends_with_the_thread(self):
        together = threading.Barrier(5)
        stub = self.stub(otherwise=lambda request: Reply(200, CARD))
        client = self.client(stub)
        failed = []

        def work():
            try:
                together.wait(10)
                for _ in range(10):
                    client.get("model:m@1")
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=work) for _ in range(5)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            del threads, thread
            gc.collect()
        self.assertEqual((failed, stub.connections, len(stub.requests)), ([], 5, 50))
        of_threads = {}
        for request in stub.requests:
            of_threads[request.connection] = of_threads.get(request.connection, 0) + 1
        self.assertEqual(sorted(of_threads.values()), [10] * 5)

    def test_one_that_ended_while_it_waited_is_replaced_without_a_try(self):
        stub = self.stub(otherwise=lambda request: Reply(200, CARD))
        client = self.client(stub, retries=0)
        client.get("model:m@1")
        stub.end_connections()
        time.sleep(0.05)
        client.save("model:m@1")
        self.assertEqual((stub.connections, client.waits), (2, []))

    def test_nothing_is_sent_over_one_that_is_seen_to_have_ended(self):
        stub = self.stub(otherwise=lambda request: Reply(200, CARD))
        client = self.client(stub, retries=0)
        client.get("model:m@1")
        stub.end_connections()
        time.sleep(0.05)
        # What must not be sent twice would fail if it were lost.
        client.connection.post("/api/v1/once", {}, idempotent=False)
        self.assertEqual([request.connection for request in stub.requests], [1, 2])

    def test_one_that_ends_as_the_call_arrives_is_replaced_without_a_try(self):
        stub = self.stub(Reply(200, CARD), Drop(), Reply(200, CARD))
        client = self.client(stub, retries=0)
        client.get("model:m@1")
        client.get("model:m@1")
        self.assertEqual((stub.connections, len(stub.requests), client.waits), (2, 3, []))

    def test_a_server_that_closes_each_time_is_no_fault(self):
        stub = self.stub(otherwise=lambda request: Reply(200, CARD, close=True))
        client = self.client(stub, retries=0)
        for _ in range(3):
            client.get("model:m@1")
        self.assertEqual(stub.connections, 3)

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_a_fork_opens_its_own(self):
        stub = self.stub(otherwise=lambda request: Reply(200, {**CARD, "summary": request.target}))
        client = self.client(stub)
        client.get("model:m@1")
        fork = multiprocessing.get_context("fork")
        there = fork.Queue()

        def child():
            # First while the parent's connection waits for its next call, then at the same time.
            there.put(client.get("model:child@0").summary)
            there.put([client.get(f"model:child@{n}").summary for n in range(20)])

        with warnings.catch_warnings():
            # Newer Pythons warn of forks with threads; the stub has some.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = fork.Process(target=child)
            process.start()
        self.assertEqual(there.get(timeout=20), "/api/v1/cards/model/child/0")
        self.assertEqual(stub.connections, 2)
        here = [client.get(f"model:parent@{n}").summary for n in range(20)]
        of_child = there.get(timeout=20)
        process.join()
        there.close()
        there.join_thread()
        process.close()
        for name, seen in (("parent", here), ("child", of_child)):
            self.assertEqual(seen, [f"/api/v1/cards/model/{name}/{n}" for n in range(20)])
        self.assertEqual(stub.connections, 2)


class Retries(Case):
    def test_what_passes_is_waited_for_longer_each_time(self):
        answers = [problem(503, "index_unavailable"), problem(502, "bad"), problem(429, "limited")]
        stub = self.stub(*answers, Reply(200, CARD))
        client = self.client(stub)
        self.assertEqual(client.get("model:m@1").name, "m")
        for wait, longest in zip(client.waits, (0.2, 0.4, 0.8)):
            self.assertTrue(longest / 2 <= wait <= longest, client.waits)
        self.assertEqual(len(client.waits), 3)

    def test_waits_are_not_all_alike(self):
        stub = self.stub(otherwise=lambda request: problem(503, "away"))
        first = []
        for _ in range(20):
            client = self.client(stub, retries=1)
            with self.assertRaises(drip.Unavailable):
                client.get("model:m@1")
            first += client.waits
        self.assertGreater(len(set(first)), 10)

    def test_retry_after_is_kept_to(self):
        stub = self.stub(problem(429, "limited", headers={"Retry-After": "7"}), Reply(200, CARD))
        client = self.client(stub)
        client.get("model:m@1")
        self.assertTrue(7 <= client.waits[0] < 8, client.waits)

    def test_retry_after_beyond_patience_is_told_at_once(self):
        limited = problem(429, "quota_exhausted", headers={"Retry-After": "3600"})
        stub = self.stub(limited)
        client = self.client(stub)
        with self.assertRaises(drip.Limited) as caught:
            client.get("model:m@1")
        self.assertEqual((caught.exception.retry_after, client.waits), (3600.0, []))
        self.assertEqual(caught.exception.code, "quota_exhausted")

    def test_the_tries_have_an_end(self):
        stub = self.stub(otherwise=lambda request: problem(503, "io"))
        client = self.client(stub, retries=2)
        with self.assertRaises(drip.Unavailable) as caught:
            client.get("model:m@1")
        self.assertEqual((len(stub.requests), len(client.waits)), (3, 2))
        self.assertEqual((caught.exception.status, caught.exception.code), (503, "io"))

    def test_refusals_are_not_tried_again(self):
        for status in (400, 401, 403, 404, 409, 412, 413, 422, 500, 504, 507):
            stub = self.stub(problem(status, "no"))
            client = self.client(stub)
            with self.assertRaises(drip.DripError):
                client.get("model:m@1")
            self.assertEqual((len(stub.requests), client.waits), (1, []), status)

    def test_an_answer_cut_in_the_middle_is_asked_for_again(self):
        stub = self.stub(Drop(CUT), Drop(CUT, reset=True), Reply(200, CARD))
        client = self.client(stub)
        self.assertEqual(client.get("model:m@1").name, "m")
        self.assertEqual(len(client.waits), 2)

    def test_a_post_keeps_its_key_over_retries_and_changes_it_between_calls(self):
        moved = Reply(200, CARD)
        stub = self.stub(Drop(), problem(503, "io"), moved, moved)
        client = self.client(stub)
        client.stage("model:m@1", "testing")
        client.stage("model:m@1", "deployed")
        keys = [request.headers["idempotency-key"] for request in stub.requests]
        self.assertEqual(len(set(keys[:3])), 1)
        self.assertNotEqual(keys[2], keys[3])
        self.assertEqual(len({request.body for request in stub.requests[:3]}), 1)

    def test_only_posts_carry_a_key(self):
        stub = self.stub(otherwise=lambda request: Reply(200, CARD))
        client = self.client(stub)
        client.save("model:m@1")
        client.get("model:m@1")
        self.assertFalse(any("idempotency-key" in request.headers for request in stub.requests))

    def test_what_may_have_been_done_is_said(self):
        stub = self.stub(Drop(), problem(412, "card_exists"))
        with self.assertRaises(drip.Stale) as caught:
            self.client(stub).save("model:m@1", create_only=True)
        self.assertTrue(caught.exception.uncertain)
        self.assertIn("may have been done", str(caught.exception))
        stub = self.stub(problem(412, "card_exists"))
        with self.assertRaises(drip.Stale) as caught:
            self.client(stub).save("model:m@1", create_only=True)
        self.assertFalse(caught.exception.uncertain)
        stub = self.stub(Reply(200, CARD), Drop(), problem(412, "stale_revision"))
        client = self.client(stub)
        client.get("model:m@1")
        with self.assertRaises(drip.Stale) as caught:
            client.save("model:m@1", revision=1)
        self.assertTrue(caught.exception.uncertain, "on a used connection too")
        stub = self.stub(otherwise=lambda request: Drop())
        with self.assertRaises(drip.Unavailable) as caught:
            self.client(stub, retries=1).save("model:m@1")
        self.assertTrue(caught.exception.uncertain)
        with self.assertRaises(drip.Unavailable) as caught:
            self.client(stub, retries=1).get("model:m@1")
        self.assertFalse(caught.exception.uncertain, "reading changes nothing")

    def test_what_a_lost_try_has_deleted_is_deleted(self):
        stub = self.stub(Drop(), problem(404, "card_not_found"), problem(404, "card_not_found"))
        client = self.client(stub)
        client.delete("model:m@1")
        with self.assertRaises(drip.NotFound):
            client.delete("model:m@1")

    def test_a_sign_in_is_sent_once(self):
        for answer in (Drop(), problem(503, "io"), problem(429, "login_throttled")):
            stub = self.stub(answer)
            with self.assertRaises((drip.Unavailable, drip.Limited)):
                drip.login(stub.url, "ada", "secret")
            self.assertEqual(len(stub.requests), 1)

    def test_no_daemon_is_said_with_what_to_do(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        client = drip.Fiche(f"http://127.0.0.1:{port}", "t", retries=2)
        waits = []
        client.connection._sleep = waits.append
        with self.assertRaises(drip.Unavailable) as caught:
            client.stage("model:m@1", "testing")
        self.assertEqual((caught.exception.code, caught.exception.status), ("daemon_away", 0))
        self.assertIn("dripctl serve", str(caught.exception))
        self.assertFalse(caught.exception.uncertain, "nothing was sent")
        self.assertEqual(len(waits), 2)

    def test_an_interrupted_call_leaves_nothing_for_the_next(self):
        stub = self.stub(Hang(), Reply(200, CARD))
        client = self.client(stub, retries=0)
        exchange = "drip._http._exchange"

        def interrupted(connection, *rest):
            connection.request(rest[0], rest[1])
            raise KeyboardInterrupt

        with mock.patch(exchange, interrupted), self.assertRaises(KeyboardInterrupt):
            client.get("model:m@1")
        self.assertEqual(client.get("model:m@1").name, "m")
        self.assertEqual(stub.connections, 2)


class Limits(Case):
    def test_an_answer_that_does_not_come_is_given_up(self):
        stub = self.stub(Hang())
        client = self.client(stub, timeout=0.2, retries=0)
        begun = time.monotonic()
        with self.assertRaises(drip.Unavailable) as caught:
            client.get("model:m@1")
        self.assertEqual(caught.exception.code, "timed_out")
        self.assertLess(time.monotonic() - begun, 5)

    def test_patience_ends_the_tries(self):
        stub = self.stub(otherwise=lambda request: Hang())
        client = self.client(stub, timeout=0.3, patience=0.5)
        with self.assertRaises(drip.Unavailable):
            client.get("model:m@1")
        self.assertLessEqual(len(stub.requests), 2)

    def test_a_huge_answer_comes_whole(self):
        text = "风" * (16 << 20)
        whole = Reply(200, {**CARD, "remark": text})
        stub = self.stub(whole, Reply(200, CARD))
        client = self.client(stub)
        self.assertEqual(client.get("model:m@1").remark, text)
        client.get("model:m@1")
        self.assertEqual(stub.connections, 1)

    def test_a_refusal_before_the_body_was_read_is_heard(self):
        refusal = problem(413, "body_too_large", "too large")
        refusal.early, refusal.close = True, True
        stub = self.stub(refusal, Reply(200, CARD))
        client = self.client(stub)
        try:
            client.save("model:m@1", remark="x" * (32 << 20))
            self.fail("it was refused")
        except drip.Invalid as error:
            self.assertEqual(error.code, "body_too_large")
        except drip.Unavailable:
            pass  # The reset overtook the answer: that is TCP's to decide.
        self.assertEqual(client.save("model:m@1").name, "m")


class Answers(Case):
    def test_a_redirect_is_not_followed_with_the_token(self):
        stub = self.stub(Reply(302, b"", {"Location": "http://elsewhere.test/"}))
        with self.assertRaises(drip.DripError) as caught:
            self.client(stub).get("model:m@1")
        self.assertIn("http://elsewhere.test/", str(caught.exception))
        self.assertEqual(len(stub.requests), 1)

    def test_what_is_no_json_is_no_daemon(self):
        stub = self.stub(Reply(200, b"<html>Welcome</html>"))
        with self.assertRaises(drip.DripError) as caught:
            self.client(stub).get("model:m@1")
        self.assertEqual(caught.exception.code, "bad_answer")

    def test_what_is_no_http_is_told(self):
        stub = self.stub(otherwise=lambda request: Drop(b"SSH-2.0-OpenSSH\r\n"))
        with self.assertRaises(drip.Unavailable) as caught:
            self.client(stub, retries=0).get("model:m@1")
        self.assertEqual(caught.exception.code, "connection_lost")


class Addresses(Case):
    def test_a_prefix_and_a_slash_at_the_end_are_kept_to(self):
        stub = self.stub(otherwise=lambda request: Reply(200, CARD))
        for end in ("", "/"):
            with drip.Fiche(f"{stub.url}/behind/proxy{end}", "t") as client:
                client.get("model:风电@1.0 beta")
        path = "/behind/proxy/api/v1/cards/model/%E9%A3%8E%E7%94%B5/1.0%20beta"
        self.assertEqual([request.target for request in stub.requests], [path, path])

    def test_a_name_stays_one_part_of_the_path(self):
        stub = self.stub(otherwise=lambda request: Reply(200, CARD))
        client = self.client(stub)
        client.get(("model", "a/../b?x=1#y", "1"))
        self.assertEqual(stub.requests[0].target, "/api/v1/cards/model/a%2F..%2Fb%3Fx%3D1%23y/1")

    def test_what_is_no_address_is_refused_before_anything_is_sent(self):
        for wrong in (
            "127.0.0.1:1",
            "ftp://x",
            "http://",
            "http://x:no",
            "http://x/?q=1",
            "http://a:b@x",
        ):
            with self.assertRaises(ValueError, msg=wrong):
                drip.Fiche(wrong, "t")
        for wrong in ("two\r\nHeader: x", "风", "a\x00b"):
            with self.assertRaises(ValueError, msg=wrong):
                drip.Fiche("http://127.0.0.1:1", wrong)

    def test_the_token_is_sent_and_not_shown(self):
        stub = self.stub(otherwise=lambda request: Reply(200, CARD))
        client = self.client(stub, token="drip_secret")
        client.get("model:m@1")
        self.assertEqual(stub.requests[0].headers["authorization"], "Bearer drip_secret")
        self.assertNotIn("secret", repr(client) + repr(client.connection))

    def test_the_environments_proxy_is_used_only_when_asked_for(self):
        stub = self.stub(otherwise=lambda request: Reply(200, CARD))
        proxy = self.stub(otherwise=lambda request: Reply(200, {**CARD, "name": "by proxy"}))
        address = proxy.url.replace("http://", "http://me:pass%20word@")
        clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        with mock.patch.dict(os.environ, {**clean, "http_proxy": address}, clear=True):
            self.assertEqual(self.client(stub).get("model:m@1").name, "m")
            self.assertEqual(self.client(stub, proxy="env").get("model:m@1").name, "by proxy")
            with mock.patch.dict(os.environ, {"no_proxy": "127.0.0.1"}):
                self.assertEqual(self.client(stub, proxy="env").get("model:m@1").name, "m")
        self.assertEqual(self.client(stub, proxy=proxy.url).get("model:m@1").name, "by proxy")
        sent = proxy.requests[0]
        self.assertEqual(sent.target, f"{stub.url}/api/v1/cards/model/m/1")
        self.assertEqual(sent.headers["proxy-authorization"], "Basic bWU6cGFzcyB3b3Jk")

    def test_a_proxy_is_asked_for_a_tunnel_when_the_daemon_speaks_tls(self):
        proxy = self.stub(Drop(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
        client = drip.Fiche("https://drip.test", "t", proxy=proxy.url, retries=0)
        with self.assertRaises(drip.Unavailable):
            client.get("model:m@1")
        self.assertEqual(
            (proxy.requests[0].method, proxy.requests[0].target), ("CONNECT", "drip.test:443")
        )
        self.assertNotIn("authorization", proxy.requests[0].headers)


@unittest.skipUnless(shutil.which("openssl"), "needs openssl, to make a certificate")
class Tls(Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.cert = os.path.join(cls.folder.name, "cert.pem")
        key = os.path.join(cls.folder.name, "key.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
            + ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
            + ["-keyout", key, "-out", cls.cert],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        cls.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cls.context.load_cert_chain(cls.cert, key)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_a_certificate_is_checked_and_cafile_names_whom_to_trust(self):
        stub = self.stub(otherwise=lambda request: Reply(200, CARD), context=self.context)
        client = self.client(stub, cafile=self.cert)
        for _ in range(3):
            self.assertEqual(client.get("model:m@1").name, "m")
        stranger = self.client(stub)
        with self.assertRaises(drip.DripError) as caught:
            stranger.get("model:m@1")
        self.assertEqual((caught.exception.code, stranger.waits), ("bad_certificate", []))
        self.assertIn("cafile=", str(caught.exception))


class Leftovers(Case):
    def test_a_client_that_is_dropped_after_an_error_is_gone_at_once(self):
        stub = self.stub(problem(404, "card_not_found"), Drop(CUT), Reply(200, CARD))
        client = drip.Fiche(stub.url, "t", retries=0)
        gc.disable()
        try:
            for kind in (drip.NotFound, drip.Unavailable):
                with contextlib.suppress(kind):
                    client.get("model:m@1")
            client.get("model:m@1")
            alive = weakref.ref(client.connection)
            del client
            self.assertIsNone(alive())
        finally:
            gc.enable()

    def test_one_that_is_collected_in_a_cycle_closes_its_sockets(self):
        stub = self.stub(Reply(200, CARD))
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            cycle = [drip.Fiche(stub.url, "t")]
            cycle.append(cycle)
            cycle[0].get("model:m@1")
            del cycle
            gc.collect()
        self.assertEqual([str(warning.message) for warning in warned], [])

    def test_nothing_is_left_open_at_the_end_of_a_program(self):
        with Stub(otherwise=lambda request: Reply(200, CARD)) as stub:
            program = (
                "import drip, threading\n"
                f"client = drip.Fiche({stub.url!r}, 't')\n"
                "client.get('model:m@1')\n"
                "thread = threading.Thread(target=client.get, args=('model:m@1',))\n"
                "thread.start(); thread.join()\n"
            )
            source = os.path.dirname(os.path.dirname(os.path.abspath(drip.__file__)))
            done = subprocess.run(
                [sys.executable, "-X", "dev", "-W", "error", "-c", program],
                env={**os.environ, "PYTHONPATH": source},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        self.assertEqual((done.returncode, done.stdout), (0, b""))


if __name__ == "__main__":
    unittest.main()
