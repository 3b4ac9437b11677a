"""The Python package against the daemon: every method, and its own tests."""

import contextlib
import http.server
import io
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path

from suite import FOLDER, PASSWORD, TOKEN, URL, check, done, same

ROOT = Path(__file__).resolve().parent.parent.parent / "clients" / "python"
SOURCE = str(ROOT / "src")
sys.path.insert(0, SOURCE)
warnings.simplefilter("error")

import drip  # noqa: E402

# Nothing of whoever runs this may decide where the calls go.
for name in [name for name in os.environ if name.startswith("DRIP_")]:
    del os.environ[name]
os.environ["XDG_CONFIG_HOME"] = os.path.join(FOLDER, "config")
PROGRAM = os.environ["SUITE_PROGRAM"]

fiche = drip.Fiche(URL, TOKEN)


def refused(what, kind, code, call, *arguments, **named):
    """The error that a call must raise."""
    try:
        answer = call(*arguments, **named)
        # Lists are asked for as they are read.
        if hasattr(answer, "__next__"):
            list(answer)
    except drip.DripError as error:
        same(what, (type(error), error.code), (kind, code))
        check(f"{what}: it has a sentence", len(str(error)) > 20, str(error))
        return error
    check(what, False, "it was not refused")
    return drip.DripError("")


def found(q, count, **more):
    """What a search finds, once the index has it."""
    deadline = time.monotonic() + 20
    while True:
        answer = fiche.search(q, **more)
        if answer.total == count and not answer.behind:
            return answer
        if time.monotonic() > deadline:
            check(f"`{q}` finds {count}", False, answer)
            return answer
        time.sleep(0.02)


def unit_tests():
    command = [sys.executable, "-B", "-W", "error", "-m", "unittest", "discover", "-s", "tests"]
    ran = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    check("the package's own tests pass", ran.returncode == 0, ran.stderr[-4000:])
    count = re.search(r"Ran (\d+) tests", ran.stderr)
    check("and there are many", count and int(count.group(1)) > 100, ran.stderr[-200:])
    check("and none was skipped", "skipped" not in ran.stderr, ran.stderr[-200:])


def cards():
    before = datetime.now(timezone.utc) - timedelta(minutes=1)
    card = fiche.save(
        "model:py-风电@1.0.0",
        summary="短期风电功率预测",
        config={"hidden": 64, "layers": [1, 2]},
        labels={"site": "XJJX"},
        requires="algorithm:py-curve@1.0.0,py-missing",
        own={"free": [None, True, 1.5]},
    )
    same("a card is saved", (card.ref, card.revision, card.stage), ("model:py-风电@1.0.0", 1, "experiment"))
    check("with its times", before < card.created_at <= card.updated_at, card)
    same("and who saved it", card.saved_by, "admin")
    same("a list of references is read", card.requires, ["algorithm:py-curve@1.0.0", "py-missing"])
    same("free fields are kept", card.own, {"free": [None, True, 1.5]})
    same("it reads the same", fiche.get("model:py-风电@1.0.0"), card)
    same("by any name", fiche.get(("model", "py-风电", "1.0.0")), fiche.get(card))
    same("it goes through JSON", drip.Card(json.loads(json.dumps(card))), card)
    same("the same again is no revision", fiche.save(card).revision, 1)
    now, names = datetime.now(timezone.utc), lambda cards: [card.name for card in cards]
    same("changed since", names(fiche.list("model", name="py-风电", updated_after=before)), ["py-风电"])
    same("and not later", names(fiche.list("model", name="py-风电", updated_after=now + timedelta(hours=1))), [])
    same("exported by time", names(fiche.export(name="py-风电", created_before=now.date() + timedelta(days=1))), ["py-风电"])
    same("or not", names(fiche.export(name="py-风电", created_before="2001-01-01")), [])
    refused("no time", drip.Invalid, "bad_time", fiche.export, updated_after="soon")
    card.config["hidden"] = 128
    card = fiche.save(card, revision=1)
    same("what differs is one", (card.revision, card.config["hidden"]), (2, 128))
    fiche.save(card, version="1.10.0")
    same("the latest is the highest by semver", fiche.get("model:py-风电").version, "1.10.0")
    same("a revision before", fiche.get(card, revision=1).config["hidden"], 64)
    stale = refused("a stale revision", drip.Stale, "stale_revision", fiche.save, card, revision=1)
    same("says its status, and that nothing was done", (stale.status, stale.uncertain), (412, False))
    refused("one that exists", drip.Stale, "card_exists", fiche.save, card, create_only=True)
    refused("a stage by a save", drip.Invalid, "stage_not_moved_by_save", fiche.save, card, stage="deployed")
    refused("one that is not there", drip.NotFound, "card_not_found", fiche.get, "model:py-none")
    refused("a revision that never was", drip.NotFound, "revision_not_found", fiche.get, card, revision=99)
    refused("a kind that there is not", drip.NotFound, "unknown_kind", fiche.list, "gadget")
    wrong = refused("many faults", drip.Invalid, "bad_card", fiche.save, "model:py-bad@1", labels={"a": 1}, summary=7)
    same("all named", sorted(fault.pointer for fault in wrong.errors), ["/labels/a", "/summary"])
    check("in the text too", "/labels/a: must be text" in str(wrong), str(wrong))
    large = refused("too large", drip.Invalid, "card_too_large", fiche.save, card, remark="x" * (2 << 20))
    same("by its status", large.status, 413)


def lifecycle():
    card = fiche.save("algorithm:py-curve@1.0.0", summary="朱鹮风电场的功率曲线")
    moved = fiche.stage(card, "testing", "现场试运行", revision=1)
    same("a card moves", (moved.stage, moved.revision), ("testing", 2))
    same("to where it is it need not", fiche.stage(card, "testing").revision, 2)
    refused("a stale one does not", drip.Stale, "stale_revision", fiche.stage, card, "deployed", revision=1)
    fiche.stage(card, "retired")
    refused("nor against the rules", drip.Conflict, "stage_move_not_allowed", fiche.stage, card, "deployed")
    refused("nor nowhere", drip.Invalid, "unknown_stage", fiche.stage, card, "paused")
    told = list(fiche.history(card, page=1))
    same("history, page by page", [revision.stage for revision in told], ["experiment", "testing", "retired"])
    change = told[1].change
    same(
        "says why",
        (change.event, change.by, change.comment, change.from_stage),
        ("card.staged", "admin", "现场试运行", "experiment"),
    )
    check("and when", change.at <= datetime.now(timezone.utc) + timedelta(minutes=1), change)
    diff = fiche.diff("model:py-风电@1.0.0", 1, 2)
    same("a diff", [(c.path, c.change, c.from_, c.to) for c in diff.changes], [("/config/hidden", "changed", 64, 128)])
    same("that people can read", str(diff), "~ /config/hidden: 64 -> 128")
    same("of the newest, unless told", fiche.diff(card).from_, 2)
    up = fiche.lineage("model:py-风电@1.0.0", "up")
    same("lineage", [node.ref for node in up.nodes], ["model:py-风电@1.0.0", "algorithm:py-curve@1.0.0"])
    same(
        "with what is missing",
        [(e.from_, e.to, e.field) for e in up.missing],
        [("model:py-风电@1.0.0", "py-missing", "requires")],
    )
    down = fiche.lineage(card, "down", depth=1)
    check("the other way", "model:py-风电@1.0.0" in [node.ref for node in down.nodes], down)
    refused("a direction", drip.Invalid, "bad_direction", fiche.lineage, card, "sideways")
    refused("a stale deletion", drip.Stale, "stale_revision", fiche.delete, card, revision=1)
    fiche.delete(card, revision=3)
    refused("what is deleted is gone", drip.NotFound, "card_not_found", fiche.get, card)
    refused("and not twice", drip.NotFound, "card_not_found", fiche.delete, card)
    gone = list(fiche.history(card))[-1]
    same("but for its history", (gone.revision, gone.change.deleted["by"]), (3, "admin"))
    same("from which it goes on", fiche.save(card).revision, 4)


def many():
    drafts = [
        drip.Card(
            kind="parameter",
            name=f"py-set-{n % 2}",
            version=f"1.0.{n}",
            summary=f"参数 number{n}",
            labels={"py": str(n % 3)},
        )
        for n in range(130)
    ]
    batch = fiche.batch(drafts)
    same("a batch", (batch.created, batch.updated, batch.unchanged), (130, 0, 0))
    same("answers its cards", batch.cards[7].ref, "parameter:py-set-1@1.0.7")
    same("again it changes nothing", fiche.batch(drafts).unchanged, 130)
    wrong = refused(
        "all or none", drip.Invalid, "bad_card", fiche.batch, [{**drafts[0], "remark": "new"}, {"kind": "x"}]
    )
    check("and says which", all(fault.pointer.startswith("/1/") for fault in wrong.errors), wrong.errors)
    same("so nothing was saved", fiche.get(drafts[0]).revision, 1)
    listed = list(fiche.list("parameter", label="py", page=20))
    same("a list is read over its pages", len({card.ref for card in listed}), 130)
    same("narrowed", len(list(fiche.list("parameter", name="py-set-1", label={"py": "0"}))), 22)
    same("cut", len(list(fiche.list("parameter", label="py", limit=33, page=20))), 33)
    answer = found("参数", 130, label="py", sort="name", page=40)
    same("a search has a first page", len(answer.items), 40)
    same("and facets", answer.facets["kind"], {"parameter": 130})
    same("and iterates over all", len({hit.card.ref for hit in answer}), 130)
    hit = found("number77", 1).items[0]
    same("a hit has its card", hit.card.ref, "parameter:py-set-1@1.0.77")
    check("its score and its passage", hit.score > 0 and "<mark>" in hit.highlights.get("summary", ""), hit)
    same("one character is enough", found("鹮", 1).items[0].card.name, "py-curve")
    check("nothing is found as nothing", not found("绝无此词", 0))
    for query in ("AND AND (", "*", "风" * 3000):
        with contextlib.suppress(drip.Invalid):
            fiche.search(query)


def bulk():
    exported = list(fiche.export(kind="parameter", label="py"))
    same("an export", len(exported), 130)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cards.ndjson")
        same("to a path", fiche.export_to(path, kind="parameter", label="py"), 130)
        file = io.BytesIO()
        same("to a file", fiche.export_to(file, kind="parameter", label="py"), 130)
        same("is the same", path.read_bytes(), file.getvalue())
        again = fiche.import_(path)
        same("taken in again, nothing changes", (again.accepted, again.unchanged, again.created), (130, 130, 0))
    moved = ({**card, "name": "py-taken", "stage": "deployed"} for card in exported)
    taken = fiche.import_(moved)
    same("stages come along", (taken.created, fiche.get("parameter:py-taken@1.0.5").stage), (130, "deployed"))
    mixed = fiche.import_(['{"kind": "parameter", "name": "py-one", "version": "1"}', "", "{", '{"kind": "x"}'])
    same("bad lines are told", [(line.line, bool(line.errors)) for line in mixed.rejected], [(3, True), (4, True)])
    same("good ones are kept", (mixed.accepted, mixed.refused), (1, 2))
    wide = ({"kind": "parameter", "name": "py-wide", "version": str(n), "remark": "x" * 900_000} for n in range(12))
    same("more than one call carries", fiche.import_(wide).created, 12)
    for card in fiche.export(name="py-wide"):
        fiche.delete(card)
    same("an export is read while others are called", list(fiche.list("parameter", name="py-wide")), [])


def feed():
    everything = list(fiche.changes(page=100))
    same("the feed has no gaps", [c.number for c in everything], list(range(1, len(everything) + 1)))
    last = everything[-1]
    same("what was deleted is told as it stood", (last.event, last.card.name), ("card.deleted", "py-wide"))
    same("from a number", [c.number for c in fiche.changes(last.number - 2, limit=1)], [last.number - 1])
    stream = fiche.changes.stream(after=last.number - 2)
    same("a stream begins where it is told", [next(stream).number for _ in range(2)], [last.number - 1, last.number])
    stream.close()
    seen = []
    stream = fiche.changes.stream()
    reader = threading.Thread(target=seen.extend, args=(stream,))
    reader.start()
    deadline = time.monotonic() + 20
    while stream.last_number is None and time.monotonic() < deadline:
        time.sleep(0.01)
    same("one that saw nothing knows where it is", stream.last_number, last.number)
    fiche.save("parameter:py-live@1", summary="live")
    fiche.stage("parameter:py-live@1", "testing")
    while len(seen) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    stream.close()
    reader.join(20)
    check("a stream can be ended", not reader.is_alive())
    same(
        "it told what came",
        [(c.event, c.card.ref) for c in seen],
        [("card.saved", "parameter:py-live@1"), ("card.staged", "parameter:py-live@1")],
    )


def accounts():
    same("the versions agree", fiche.connection.version()["version"], drip.__version__)
    same("whose token it is", fiche.connection.whoami()["name"], "admin")
    token = drip.login(URL, "admin", PASSWORD)
    same("a sign-in", (token.role, drip.Fiche(URL, token).connection.whoami()["name"]), ("admin", "admin"))
    check("it ends in hours", timedelta(hours=11) < token.expires_at - datetime.now(timezone.utc) < timedelta(hours=13))
    refused("a wrong password", drip.Unauthorized, "bad_login", drip.login, URL, "admin", "wrong")
    refused("a wrong token", drip.Unauthorized, "unauthenticated", drip.Fiche(URL, "drip_wrong").get, "model:x")
    refused("no token", drip.Unauthorized, "unauthenticated", drip.Fiche(URL).get, "model:x")
    body = {"name": "py", "scopes": ["fiche:read"], "expires_in": "1h"}
    reader = drip.Fiche(URL, fiche.connection.post("/api/v1/tokens", body)["token"])
    same("a token that reads", reader.get("parameter:py-live@1").stage, "testing")
    error = refused("does not write", drip.Forbidden, "not_allowed", reader.save, "model:py-no@1")
    same("by its status", error.status, 403)
    login = [PROGRAM, "--url", URL, "login", "--username", "admin", "--password-stdin"]
    subprocess.run(login, input=PASSWORD + "\n", text=True, check=True, stdout=subprocess.DEVNULL)
    with drip.Fiche(URL) as kept:
        same("what dripctl login keeps is found", kept.connection.whoami()["name"], "admin")
    with drip.Fiche() as kept:
        same("with its address", (kept.connection.url, kept.connection.whoami()["role"]), (URL, "admin"))


def _child(n):
    """In a process that was forked off while the parent had a connection."""
    return [fiche.save(f"parameter:py-fork@{n}", remark=str(turn)).revision for turn in range(10)]


def crowd():
    failed = []

    def work(n):
        try:
            for turn in range(20):
                card = fiche.save(f"parameter:py-thread@{n}", remark=str(turn))
                if (card.version, card.remark) != (str(n), str(turn)):
                    failed.append(card)
        except drip.DripError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same("threads share a client", failed, [])
    same("and nothing was lost", [c.revision for c in fiche.list("parameter", name="py-thread")], [20] * 8)
    with warnings.catch_warnings():
        # Newer Pythons warn of forks of programs with threads; here all have ended.
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context("fork").Pool(3) as pool:
            same("so do forks", pool.map(_child, range(3)), [list(range(1, 11))] * 3)
            pool.close()
            pool.join()
    fiche.get("parameter:py-fork@0")


class Own:
    """A daemon of one's own, that can be killed and started again at the same address."""

    def __init__(self, folder, **settings):
        self.folder = Path(FOLDER, folder)
        self.environment = {**os.environ, **settings}
        self.listen = "127.0.0.1:0"
        self.process = None
        self.folder.mkdir()
        command = ["create-admin", "--username", "admin", "--password-stdin", "--data", "data"]
        subprocess.run(
            [PROGRAM, *command],
            input=PASSWORD + "\n",
            text=True,
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=60)

    def start(self):
        command = [PROGRAM, "serve", "--data", "data", "--listen", self.listen]
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.process.stdout:
            _, _, address = line.rstrip().partition(" on http://")
            if address:
                self.listen = address
                return
        raise SystemExit("a daemon of the suite's own did not start")

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def client(self, **options):
        url = f"http://{self.listen}"
        return drip.Fiche(url, drip.login(url, "admin", PASSWORD), **options)


def restarts():
    """The daemon is killed in the middle of saves and moves: the calls go on, each is done once."""
    with Own("restarts") as daemon, daemon.client(patience=120, retries=60) as client:
        answered, told, failed = [], [], []
        over = threading.Event()

        def write(n):
            stages = ["development", "testing", "experiment"]
            try:
                for turn in range(400):
                    if over.is_set() and turn >= 60:
                        return
                    card = client.save(f"model:w{n}@{turn}", remark=str(turn))
                    moved = client.stage(card, stages[turn % 2])
                    answered.append((card.ref, moved.revision))
            except Exception as error:
                failed.append(error)

        stream = client.changes.stream(after=0)
        reader = threading.Thread(target=told.extend, args=(stream,))
        writers = [threading.Thread(target=write, args=(n,)) for n in range(3)]
        for thread in (reader, *writers):
            thread.start()
        for _ in range(4):
            before = len(answered)
            deadline = time.monotonic() + 60
            while len(answered) < before + 10 and time.monotonic() < deadline and not failed:
                time.sleep(0.005)
            daemon.kill()
            time.sleep(0.1)
            daemon.start()
        over.set()
        for thread in writers:
            thread.join(120)
        same("no call failed", failed, [])
        check("many were answered", len(answered) >= 180, len(answered))
        cards = {card.ref: card for card in client.list("model")}
        lost = [ref for ref, revision in answered if ref not in cards or cards[ref].revision < revision]
        same("what was answered is there", lost, [])
        twice = [ref for ref, card in cards.items() if card.revision != 2]
        same("and each was done once", twice, [])
        numbers = [change.number for change in client.changes()]
        deadline = time.monotonic() + 60
        while len(told) < len(numbers) and time.monotonic() < deadline:
            time.sleep(0.01)
        stream.close()
        reader.join(60)
        same("the stream told every change once", [change.number for change in told], numbers)


def observers():
    """Pushes are received, verified with the package, and asked for again."""
    if "/api/v1/observers/{name}" not in fiche.connection.get("/openapi.json")["paths"]:
        print("observers: this daemon has none yet", flush=True)
        return
    got, answers = [], []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            header = self.headers.get("Drip-Signature")
            got.append(
                (
                    json.loads(body),
                    drip.verify_signature("s3cret", header, body),
                    drip.verify_signature("other", header, body),
                )
            )
            self.send_response(answers.pop(0) if answers else 204)
            self.end_headers()

        def log_message(self, *_):
            pass

    def wait_for(count):
        deadline = time.monotonic() + 30
        while len(got) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return [drip.Change(body).number for body, _, _ in got]

    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with Own("observers", DRIP_OBSERVERS__ALLOW_PRIVATE="true") as daemon, daemon.client() as client:
                client.save("model:before@1")
                hook = f"http://127.0.0.1:{server.server_port}/hook"
                made = client.observers.put(
                    "hq", hook, kinds=["model"], names=["w*"], secret="s3cret", create_only=True
                )
                same(
                    "an observer is made",
                    (made.name, made.has_secret, "secret" in made, made.revision),
                    ("hq", True, False, 1),
                )
                refused(
                    "one that exists", drip.Stale, "observer_exists", client.observers.put, "hq", hook, create_only=True
                )
                refused("one that is not there", drip.NotFound, "observer_not_found", client.observers.get, "none")
                answers.append(500)
                client.save("model:wind@1")
                client.save("dataset:wind@1")
                client.stage("model:wind@1", "testing")
                same("it is told in order, and again after a failure", wait_for(3), [2, 2, 4])
                same("with signatures that hold", {(ours, theirs) for _, ours, theirs in got}, {(True, False)})
                deadline = time.monotonic() + 30
                while client.observers.get("hq").state.behind and time.monotonic() < deadline:
                    time.sleep(0.02)
                same("and stands well", client.observers.get("hq").state.status, "current")
                # What went well is noted a little later.
                log = []
                while len(log) < 2 and time.monotonic() < deadline:
                    log = list(client.observers.deliveries("hq", state="delivered", page=1))
                    time.sleep(0.05)
                same(
                    "the log says what happened",
                    [(d.number, d.event) for d in log],
                    [(4, "card.staged"), (2, "card.saved")],
                )
                same("to which card", {d.card for d in log}, {"model:wind@1"})
                same("and in how many tries", [d.tries for d in log], [1, 2])
                check("and when", all(d.at.utcoffset() == timedelta(0) for d in log), log)
                again = client.observers.redeliver("hq", 2)
                same("it can be told again", (again.from_, wait_for(5)[3:]), (2, [2, 4]))
                same("observers are listed", [o.name for o in client.observers.list()], ["hq"])
                stream = client.changes.stream(after=0, kinds=["dataset"])
                same("streams ask in the same words", next(stream).card.ref, "dataset:wind@1")
                stream.close()
                client.observers.delete("hq")
                same("and it is gone", list(client.observers.list()), [])
        finally:
            server.shutdown()
            thread.join()


def readme():
    """What the README shows runs as it stands."""
    text = (ROOT / "README.md").read_text("utf-8")
    program = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
    environment = {**os.environ, "PYTHONPATH": SOURCE, "DRIP_URL": URL, "DRIP_TOKEN": TOKEN}
    ran = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", program],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    check("the quick start runs", ran.returncode == 0 and "model:wind-lstm@1.0.0" in ran.stdout, ran.stdout[-2000:])
    same(
        "in Chinese too",
        re.search(r"```python\n(.*?)```", (ROOT / "README.zh-CN.md").read_text("utf-8"), re.DOTALL)
        .group(1)
        .count("\n"),
        program.count("\n"),
    )


for part in (unit_tests, cards, lifecycle, many, bulk, feed, accounts, crowd, restarts, observers, readme):
    print(part.__name__, flush=True)
    part()
fiche.close()
done()
