"""What each method sends, and what it makes of the answer."""

import io
import json
import os
import tempfile
import unittest
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from stub import Case, Drop, Reply, problem

import drip
from drip import _bulk

CARD = {"kind": "model", "name": "m", "version": "1", "revision": 2, "stage": "experiment"}


def query_of(request):
    return parse_qsl(urlsplit(request.target).query)


def pages_of(items, key=lambda item: item):
    """Answers a list as the daemon does, in pages."""

    def answer(request):
        asked = dict(query_of(request))
        begin, limit = int(asked.get("cursor", 0)), int(asked["limit"])
        end = begin + limit
        more = str(end) if end < len(items) else None
        page = {"items": [key(item) for item in items[begin:end]], "next_cursor": more}
        return Reply(200, {**page, "total": len(items), "facets": {"kind": {"model": len(items)}}})

    return answer


class Calls(Case):
    def setUp(self):
        self.server = self.stub(otherwise=lambda request: Reply(200, CARD))
        self.fiche = self.client(self.server)

    def last(self):
        return self.server.requests[-1]

    def test_save(self):
        card = self.fiche.save("model:m@1", summary="风电", config={"a": [1]}, revision=2)
        self.assertEqual((card.ref, card.revision, type(card)), ("model:m@1", 2, drip.Card))
        sent = self.last()
        self.assertEqual((sent.method, sent.target), ("PUT", "/api/v1/cards/model/m/1"))
        self.assertEqual(sent.json(), {"summary": "风电", "config": {"a": [1]}})
        self.assertEqual(
            (sent.headers["if-match"], sent.headers["content-type"]), ('"2"', "application/json")
        )
        self.fiche.save(drip.Card(CARD, own=1), own=2, create_only=True)
        sent = self.last()
        self.assertEqual((sent.json()["own"], sent.headers["if-none-match"]), (2, "*"))
        self.assertNotIn("if-match", sent.headers)

    def test_a_card_can_be_saved_under_another_name(self):
        self.fiche.save(drip.Card(CARD), version="2", name="n")
        self.assertEqual(self.last().target, "/api/v1/cards/model/n/2")
        self.assertEqual((self.last().json()["version"], self.last().json()["name"]), ("2", "n"))

    def test_save_needs_a_version(self):
        with self.assertRaises(drip.Invalid):
            self.fiche.save("model:m", summary="x")
        self.assertEqual(self.server.requests, [])

    def test_get(self):
        self.fiche.get("model:m")
        self.assertEqual(self.last().target, "/api/v1/cards/model/m/latest")
        self.fiche.get("model:m@1", revision=7)
        self.assertEqual(self.last().target, "/api/v1/cards/model/m/1?revision=7")

    def test_stage_diff_lineage_delete(self):
        self.fiche.stage("model:m", "testing", "因为", revision=3)
        sent = self.last()
        self.assertEqual((sent.method, sent.target), ("POST", "/api/v1/cards/model/m/latest/stage"))
        self.assertEqual(sent.json(), {"stage": "testing", "comment": "因为"})
        self.assertEqual(sent.headers["if-match"], '"3"')
        self.fiche.diff("model:m@1", 1, 2)
        self.assertEqual(self.last().target, "/api/v1/cards/model/m/1/diff?from=1&to=2")
        self.fiche.lineage("model:m@1", "up", 2)
        self.assertEqual(self.last().target, "/api/v1/cards/model/m/1/lineage?direction=up&depth=2")
        self.server.answers.append(Reply(204))
        self.assertIsNone(self.fiche.delete("model:m@1", revision=3))
        self.assertEqual((self.last().method, self.last().headers["if-match"]), ("DELETE", '"3"'))

    def test_lineage_has_nodes_edges_and_what_is_missing(self):
        edges = [
            {
                "from": "model:m@1",
                "to": f"algorithm:{n}@1",
                "field": "requires",
                "missing": n == "b",
            }
            for n in "ab"
        ]
        nodes = [{"kind": "model", "name": "m", "version": "1", "stage": "testing"}]
        self.server.answers.append(Reply(200, {"nodes": nodes, "edges": edges, "truncated": False}))
        lineage = self.fiche.lineage("model:m@1")
        self.assertEqual([node.ref for node in lineage.nodes], ["model:m@1"])
        self.assertEqual([edge.to for edge in lineage.missing], ["algorithm:b@1"])
        self.assertEqual(len(lineage.edges), 2)

    def test_batch(self):
        self.server.answers.append(
            Reply(200, {"items": [CARD], "created": 1, "updated": 0, "unchanged": 0})
        )
        batch = self.fiche.batch(iter([drip.Card(CARD)]))
        self.assertEqual((batch.cards[0].ref, batch.created), ("model:m@1", 1))
        self.assertEqual(self.last().json(), [CARD])
        self.assertIn("idempotency-key", self.last().headers)

    def test_observers(self):
        told = {"name": "hq", "url": "http://x/", "kinds": ["model"], "revision": 1}
        self.server.otherwise = lambda request: Reply(200, told)
        observer = self.fiche.observers.put(
            "hq", "http://x/", kinds=("model",), secret="s", summary="总部", create_only=True
        )
        sent = self.last()
        self.assertEqual((observer.name, observer.kinds), ("hq", ["model"]))
        self.assertEqual((sent.method, sent.target), ("PUT", "/api/v1/observers/hq"))
        self.assertEqual(
            sent.json(), {"url": "http://x/", "kinds": ["model"], "secret": "s", "summary": "总部"}
        )
        self.assertEqual(sent.headers["if-none-match"], "*")
        self.assertEqual(self.fiche.observers.get("hq").url, "http://x/")
        self.server.answers.append(Reply(204))
        self.fiche.observers.delete("hq")
        self.assertEqual(self.last().method, "DELETE")
        self.server.otherwise = pages_of(
            [{"number": n, "at": "2024-01-01T00:00:00Z"} for n in range(5)]
        )
        log = self.fiche.observers.deliveries("hq", state="failed", page=2)
        numbers = [delivery.number for delivery in log]
        self.assertEqual(numbers, [0, 1, 2, 3, 4])
        self.assertEqual(query_of(self.last())[0], ("state", "failed"))
        self.assertEqual(len(list(self.fiche.observers.list(limit=3))), 3)
        self.server.answers.append(Reply(200, {"from": 3, "to": 5, "events": 2}))
        again = self.fiche.observers.redeliver("hq", 3)
        self.assertEqual((again.from_, again.to, again.events), (3, 5, 2))
        self.assertEqual(
            (self.last().target, self.last().json()),
            ("/api/v1/observers/hq/redeliver", {"from": 3}),
        )
        self.assertIn("idempotency-key", self.last().headers)

    def test_modules_may_share_a_connection(self):
        with drip.Connection(self.server.url, "t") as connection:
            one, two = drip.Fiche.over(connection), drip.Fiche.over(connection)
            one.get("model:m@1")
            two.get("model:m@1")
            self.assertEqual(connection.version(), CARD)
            self.assertEqual(self.last().target, "/api/v1/version")
            self.assertEqual(connection.whoami(), CARD)
        self.assertEqual(self.server.connections, 1)


class Lists(Case):
    def setUp(self):
        self.cards = [{**CARD, "name": f"m{n}"} for n in range(25)]
        self.server = self.stub(otherwise=pages_of(self.cards))
        self.fiche = self.client(self.server)

    def test_a_list_is_read_page_by_page_as_it_is_asked_for(self):
        cards = self.fiche.list("model", page=10, label={"site": "XJJX", "a": "b"}, stage="testing")
        self.assertEqual(self.server.requests, [], "nothing before the first is asked for")
        self.assertEqual(next(cards).name, "m0")
        self.assertEqual(len(self.server.requests), 1)
        self.assertEqual(len(list(cards)), 24)
        self.assertEqual(len(self.server.requests), 3)
        first = self.server.requests[0]
        self.assertTrue(first.target.startswith("/api/v1/cards/model?"))
        expected = [("stage", "testing"), ("label", "site:XJJX"), ("label", "a:b"), ("limit", "10")]
        self.assertEqual(query_of(first), expected)
        self.assertEqual(query_of(self.server.requests[2])[-1], ("cursor", "20"))

    def test_no_more_than_the_limit_is_asked_for(self):
        self.assertEqual(len(list(self.fiche.list("model", limit=12, page=10))), 12)
        asked = [dict(query_of(request))["limit"] for request in self.server.requests]
        self.assertEqual(asked, ["10", "2"])
        self.assertEqual(list(self.fiche.list("model", limit=0)), [])

    def test_a_page_that_fails_on_the_way_is_asked_for_again(self):
        answer = pages_of(self.cards)
        calls = []

        def sometimes(request):
            calls.append(request)
            return Drop() if len(calls) % 2 == 0 else answer(request)

        self.server.otherwise = sometimes
        names = [card.name for card in self.fiche.list("model", page=5)]
        self.assertEqual(names, [f"m{n}" for n in range(25)])

    def test_labels_are_given_in_any_form(self):
        for label, sent in (
            ("site:X", ["site:X"]),
            (["a:b", "c"], ["a:b", "c"]),
            ({"k": "v"}, ["k:v"]),
            (None, []),
        ):
            next(self.fiche.list("model", label=label))
            asked = [v for k, v in query_of(self.server.requests[-1]) if k == "label"]
            self.assertEqual(asked, sent)

    def test_a_search_has_its_first_page_and_iterates_over_all(self):
        self.server.otherwise = pages_of(
            self.cards,
            lambda card: {"card": card, "score": 1.5, "highlights": {"name": "<mark>m</mark>"}},
        )
        found = self.fiche.search("风电 OR x", kind="model", sort="-updated", page=10)
        self.assertEqual(len(self.server.requests), 1)
        self.assertEqual((found.total, len(found.items), bool(found)), (25, 10, True))
        self.assertEqual(found.facets, {"kind": {"model": 25}})
        hit = found.items[0]
        self.assertEqual(
            (hit.card.ref, hit.score, hit.highlights),
            ("model:m0@1", 1.5, {"name": "<mark>m</mark>"}),
        )
        for _ in range(2):
            self.assertEqual([hit.card.name for hit in found], [f"m{n}" for n in range(25)])
        asked = query_of(self.server.requests[0])
        self.assertEqual(
            asked, [("q", "风电 OR x"), ("kind", "model"), ("sort", "-updated"), ("limit", "10")]
        )
        self.assertEqual(len(list(self.fiche.search("x", limit=12, page=10))), 12)
        self.assertEqual(len(list(self.fiche.search("x", limit=3))), 3)

    def test_the_feed_is_read_from_a_number(self):
        changes = [
            {"number": n, "event": "card.saved", "card": CARD, "at": "2024-01-01T00:00:00Z"}
            for n in range(8)
        ]
        self.server.otherwise = pages_of(changes)
        told = list(self.fiche.changes(after=5, page=3))
        self.assertEqual([change.number for change in told], list(range(8)))
        self.assertEqual((told[0].card.ref, told[0].at.year), ("model:m@1", 2024))
        self.assertEqual(query_of(self.server.requests[0]), [("after", "5"), ("limit", "3")])

    def test_history_tells_where_each_revision_came_from(self):
        change = {
            "event": "card.staged",
            "at": "2024-01-01T00:00:00Z",
            "by": "ada",
            "comment": "ok",
        }
        revision = {**CARD, "change": {**change, "from_stage": "experiment"}}
        self.server.otherwise = pages_of([revision])
        (told,) = self.fiche.history("model:m@1")
        self.assertEqual(
            (told.ref, told.change.by, told.change.from_stage), ("model:m@1", "ada", "experiment")
        )
        self.assertEqual((told.change.deleted, told.change.at.year), (None, 2024))


def ndjson(cards):
    return b"".join(json.dumps(card).encode() + b"\n" for card in cards)


class Bulk(Case):
    def exporting(self, *answers):
        self.server = self.stub(*answers)
        return self.client(self.server)

    def chunked(self, body, size=1000):
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        sent = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        return Reply(200, sent + b"0\r\n\r\n", {"Transfer-Encoding": "chunked"})

    def test_an_export_comes_card_by_card_in_any_shape(self):
        cards = [{**CARD, "name": f"风{n}", "remark": "x" * (n * 37 % 400)} for n in range(500)]
        body = ndjson(cards)
        until_the_end = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body
        for answer in (
            self.chunked(body),
            self.chunked(body, 7),
            Reply(200, body),
            Drop(until_the_end),
        ):
            found = list(self.exporting(answer).export(kind="model"))
            self.assertEqual(found, cards)
            self.assertIsInstance(found[0], drip.Card)
            self.assertEqual(self.server.requests[0].target, "/api/v1/cards:export?kind=model")

    def test_calls_may_be_made_while_it_comes(self):
        fiche = self.exporting(self.chunked(ndjson([CARD] * 3)), *[Reply(200, CARD)] * 3)
        saved = [fiche.save(card).ref for card in fiche.export()]
        self.assertEqual((saved, self.server.connections), (["model:m@1"] * 3, 2))

    def test_one_that_is_left_early_is_closed(self):
        fiche = self.exporting(self.chunked(ndjson([CARD] * 3)))
        for card in fiche.export():
            break
        del card

    def test_an_export_that_is_cut_off_never_passes_for_whole(self):
        body = ndjson([CARD] * 3)
        chunk = b"%x\r\n%s\r\n" % (len(body), body)
        for cut in (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk[:-20],
            b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + body,
            b"HTTP/1.1 200 OK\r\n\r\n" + body[:-3],
        ):
            with self.assertRaises(drip.Unavailable, msg=cut):
                list(self.exporting(Drop(cut)).export())
            with self.assertRaises(drip.Unavailable), tempfile.TemporaryDirectory() as folder:
                target = Path(folder, "cards.ndjson")
                target.write_text("before")
                try:
                    self.exporting(Drop(cut)).export_to(target)
                finally:
                    self.assertEqual(target.read_text(), "before")
                    self.assertEqual(os.listdir(folder), ["cards.ndjson"])

    def test_an_export_is_written_to_a_file_or_a_path(self):
        body = ndjson([CARD] * 3)
        file = io.BytesIO()
        self.assertEqual(self.exporting(self.chunked(body)).export_to(file), 3)
        self.assertEqual(file.getvalue(), body)
        with tempfile.TemporaryDirectory() as folder:
            target = os.path.join(folder, "cards.ndjson")
            self.assertEqual(self.exporting(self.chunked(body)).export_to(target), 3)
            self.assertEqual(Path(target).read_bytes(), body)
            beside = Path(folder, "any other file")
            beside.touch()
            self.assertEqual(os.stat(target).st_mode, beside.stat().st_mode)
            with self.assertRaises(FileNotFoundError):
                self.exporting(self.chunked(body)).export_to(os.path.join(folder, "no", "folder"))

    def test_opening_an_export_is_tried_again(self):
        fiche = self.exporting(problem(503, "io"), Drop(), self.chunked(ndjson([CARD])))
        self.assertEqual(len(list(fiche.export())), 1)
        self.assertEqual(len(fiche.waits), 2)
        with self.assertRaises(drip.Forbidden):
            list(self.exporting(problem(403, "denied")).export())

    def test_cards_are_taken_in_from_wherever_they_are(self):
        body = ndjson([CARD, {**CARD, "name": "风"}])
        text = body.decode()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "cards.ndjson")
            path.write_bytes(body)
            with open(path, "rb") as raw, open(path, encoding="utf-8") as decoded:
                for cards in (path, raw, decoded, text, body, text.splitlines(), io.BytesIO(body)):
                    done = Reply(200, {"accepted": 2, "created": 2, "rejected": []})
                    imported = self.exporting(done).import_(cards)
                    self.assertEqual(
                        (imported.accepted, imported.created, imported.refused), (2, 2, 0)
                    )
                    sent = self.server.requests[0]
                    self.assertEqual(
                        [json.loads(line) for line in sent.body.splitlines()][1]["name"], "风"
                    )
                    self.assertEqual(sent.headers["content-type"], "application/x-ndjson")
        self.assertEqual(self.exporting().import_([]).accepted, 0)
        self.assertEqual(self.server.requests, [])
        with self.assertRaises(TypeError):
            self.exporting().import_([7])

    def test_a_large_import_goes_in_pieces_and_lines_keep_their_numbers(self):
        lines = [json.dumps({**CARD, "remark": "x" * (1 << 20)}) for _ in range(20)]
        refused = {"line": 2, "reason": "bad", "errors": []}

        def answer(request):
            count = request.body.count(b"\n")
            return Reply(200, {"accepted": count - 1, "refused": 1, "rejected": [refused]})

        server = self.stub(otherwise=answer)
        done = self.client(server).import_(iter(lines))
        self.assertEqual(len(server.requests), 3)
        self.assertTrue(all(len(request.body) <= _bulk.PIECE_MAX for request in server.requests))
        self.assertEqual([rejected.line for rejected in done.rejected], [2, 9, 16])
        self.assertEqual((done.accepted, done.refused), (17, 3))
        self.assertEqual(
            len({request.headers["idempotency-key"] for request in server.requests}), 3
        )
        self.assertEqual(
            b"".join(request.body for request in server.requests).decode().splitlines(), lines
        )

    def test_empty_lines_count_as_lines(self):
        pieces = list(_bulk.pieces_of(["{}\n", "\n", "", "{}\n\n{}"]))
        self.assertEqual(
            [(piece.body, piece.lines) for piece in pieces], [(b"{}\n\n\n{}\n\n{}\n", 6)]
        )


class SignIn(Case):
    def test_a_sign_in_answers_a_token_that_is_text(self):
        stub = self.stub(
            Reply(200, {"token": "jwt", "expires_at": "2024-01-01T12:00:00Z", "role": "admin"})
        )
        token = drip.login(stub.url, "ada", "密码")
        self.assertEqual((token, token.role, token.expires_at.hour), ("jwt", "admin", 12))
        self.assertEqual(stub.requests[0].json(), {"username": "ada", "password": "密码"})
        self.assertNotIn("authorization", stub.requests[0].headers)
        self.assertNotIn("idempotency-key", stub.requests[0].headers)
        drip.Fiche(stub.url, token).close()

    def test_a_wrong_password_is_told(self):
        stub = self.stub(problem(401, "wrong_credentials"))
        with self.assertRaises(drip.Unauthorized):
            drip.login(stub.url, "ada", "wrong")


if __name__ == "__main__":
    unittest.main()
