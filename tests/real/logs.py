"""Logs as those send them who know nothing of Drip: OpenTelemetry, Loki, Python's own handler; and our own
handler under a daemon that is killed. Each is driven as its users drive it."""

import json
import logging
import logging.handlers
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

from suite import FOLDER, TOKEN, URL, check, done


def get(path, **query):
    request = urllib.request.Request(f"{URL}{path}?{urllib.parse.urlencode(query)}")
    request.add_header("Authorization", f"Bearer {TOKEN}")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def found(**query):
    """All records that are found, the oldest first."""
    items, cursor = [], ""
    while cursor is not None:
        page = get("/api/v1/logs", order="asc", limit=1000, cursor=cursor, **query)
        items += page["items"]
        cursor = page["next_cursor"]
    return items


def opentelemetry():
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource

    for name, compression in (("plain", Compression.NoCompression), ("gzip", Compression.Gzip)):
        resource = Resource.create({"service.name": f"otel-{name}", "site": "XJJX"})
        provider = LoggerProvider(resource=resource)
        exporter = OTLPLogExporter(
            endpoint=f"{URL}/v1/logs", headers={"Authorization": f"Bearer {TOKEN}"}, compression=compression
        )
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        logger = logging.Logger("farm.pitch")
        logger.addHandler(LoggingHandler(level=logging.DEBUG, logger_provider=provider))
        for number in range(500):
            logger.info("turbine %s turned %d", "R80711", number, extra={"power": number * 1.5, "ids": [1, "a"]})
        try:
            raise ValueError("too hot")
        except ValueError:
            logger.exception("it failed")
        provider.shutdown()
        records = found(stream=f"otel-{name}")
        check(f"otlp {name}: every record once, in order", [r["message"] for r in records[:500]] == [f"turbine R80711 turned {n}" for n in range(500)])
        one = records[7]
        check(f"otlp {name}: attributes are fields", one["fields"].get("power") == 10.5 and one["fields"].get("ids") == [1, "a"])
        check(f"otlp {name}: the resource is there", one["fields"].get("site") == "XJJX")
        check(f"otlp {name}: file and line are known", one["file"].endswith("logs.py") and one["line"] > 0)
        check(f"otlp {name}: the logger is the module", one["module"] == "farm.pitch")
        error = records[-1]
        check(f"otlp {name}: the error is there", error["level"] == "ERROR" and "too hot" in json.dumps(error["fields"]))


def loki():
    import logging_loki

    logging_loki.emitter.LokiEmitter.level_tag = "level"
    handler = logging_loki.LokiHandler(
        url=f"{URL}/loki/api/v1/push", tags={"service_name": "loki-python", "site": "a"}, auth=("any", TOKEN), version="1"
    )
    logger = logging.Logger("farm.yaw")
    logger.addHandler(handler)
    for number in range(50):
        logger.warning("yaw %d", number, extra={"tags": {"turbine": f"R{number}"}})
    records = found(stream="loki-python")
    check("loki: every line once, in order", [r["message"] for r in records] == [f"yaw {n}" for n in range(50)])
    check("loki: levels and labels are there", records[3]["level"] == "WARNING" and records[3]["fields"].get("turbine") == "R3" and records[3]["fields"].get("logger") == "farm.yaw")


def pythons_own():
    host = URL.split("//")[1]
    handler = logging.handlers.HTTPHandler(host, "/api/v1/logs", method="POST", credentials=("any", TOKEN))
    logger = logging.Logger("farm.http")
    logger.addHandler(handler)
    logger.error("blade %s at %.1f of %d", "A", 2.25, 7)
    logger.info("plain")
    records = found(stream="farm.http")
    check("HTTPHandler: template and arguments are put together", [r["message"] for r in records] == ["blade A at 2.2 of 7", "plain"])
    check("HTTPHandler: level, file and function", records[0]["level"] == "ERROR" and records[0]["file"] == "logs.py" and records[0]["fields"]["funcName"] == "pythons_own")


PROGRAM = """
import logging, sys, time
sys.path.insert(0, sys.argv[3])
import drip.logging
logging.raiseExceptions = False
handler = drip.logging.DripHandler(sys.argv[1], sys.argv[2], stream="ours", spool=sys.argv[4], interval=0.05)
logger = logging.getLogger("ours")
logger.setLevel("INFO")
logger.addHandler(handler)
for number in range(int(sys.argv[5])):
    logger.info("record %d", number)
    time.sleep(0.001)
handler.flush(20)
end = time.monotonic() + 40
while (handler._has_spooled() or handler._queue) and time.monotonic() < end:
    time.sleep(0.1)
logging.shutdown()
print(handler.lost, handler.last_error, file=sys.stderr)
print(handler.lost)
"""


def our_own():
    """The daemon of this part is its own: it is killed, again and again."""
    program, home = os.environ["SUITE_PROGRAM"], tempfile.mkdtemp(dir=FOLDER)
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "clients", "python", "src")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DRIP_")}
    environment["XDG_CONFIG_HOME"] = home
    data = os.path.join(home, "data")
    os.mkdir(data)
    subprocess.run(
        [program, "create-admin", "--username", "admin", "--password-stdin", "--data", data],
        input=b"a long enough passphrase\n", check=True, env=environment, cwd=home, stdout=subprocess.DEVNULL,
    )

    def serve(listen):
        daemon = subprocess.Popen(
            [program, "serve", "--data", data, "--listen", listen], env=environment, cwd=home,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        while True:
            line = daemon.stdout.readline()
            if not line or " on http://" in line:
                return daemon, line.strip().rsplit("http://", 1)[-1]

    daemon, address = serve("127.0.0.1:0")
    try:
        post = urllib.request.Request(f"http://{address}/api/v1/login", json.dumps({"username": "admin", "password": "a long enough passphrase"}).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(post) as answer:
            token = json.load(answer)["token"]
        count = 8000
        writer = subprocess.Popen(
            [sys.executable, "-B", "-c", PROGRAM, f"http://{address}", token, source, os.path.join(home, "spool"), str(count)],
            stdout=subprocess.PIPE, text=True, env=environment,
        )
        kills = 0
        while writer.poll() is None and kills < 8:
            time.sleep(0.7)
            daemon.kill()
            daemon.wait()
            kills += 1
            time.sleep(0.2)
            daemon, again = serve(address)
            check(f"kill {kills}: the daemon is back", again == address)
        lost = writer.communicate(timeout=90)[0].strip()
        check("our handler: nothing was counted as lost", lost == "0")
        items, cursor = [], ""
        while cursor is not None:
            query = urllib.parse.urlencode({"stream": "ours", "order": "asc", "limit": 1000, "cursor": cursor})
            request = urllib.request.Request(f"http://{address}/api/v1/logs?{query}", headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request) as answer:
                page = json.load(answer)
            items += page["items"]
            cursor = page["next_cursor"]
        numbers = [int(item["message"].split()[1]) for item in items]
        check(f"our handler: {kills} kills, nothing lost", sorted(set(numbers)) == list(range(count)))
        check("our handler: nothing twice", len(numbers) == len(set(numbers)))
        seqs = [int(item["message"].split()[1]) for item in sorted(items, key=lambda item: item["seq"])]
        check("our handler: in order", seqs == sorted(seqs))
    finally:
        daemon.kill()
        daemon.wait()


opentelemetry()
loki()
pythons_own()
our_own()
done()
