"""An outside consumer: what a team brings that only has Python, requests and pyarrow."""

import csv
import io
import json
import logging
import math
import urllib.error
import urllib.request
from datetime import datetime, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import requests

from suite import TOKEN, URL, check, done, same

API = f"{URL}/api/v1"
CHANNEL = f"{API}/channels/wind/forecast"
WEEK = {"entity": "R80711", "start": "2014-03-01", "end": "2014-03-03"}


def session(token):
    s = requests.Session()
    s.trust_env = False
    s.headers["Authorization"] = f"Bearer {token}"
    return s


admin = session(TOKEN)


def must(answer, *statuses):
    """The answer, when it is one of those that let the suite go on."""
    if answer.status_code not in statuses:
        raise SystemExit(f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text[:500]}")
    return answer


def consumer(name, limit, unit="requests"):
    """An account that may read the forecast, with a quota, and a session as that account."""
    must(admin.put(f"{API}/users/{name}", json={"password": "a long enough passphrase", "role": "consumer"}), 200, 201)
    must(admin.put(f"{CHANNEL}/grants/{name}", json={}), 200, 201)
    quota = {"channel": "wind/forecast", "unit": unit, "limit": limit, "period": "total"}
    must(admin.put(f"{API}/users/{name}/quota", json=quota), 200, 201)
    token = {"name": "desk", "user": name, "scopes": ["dashare:read"], "expires_in": "1h"}
    return session(must(admin.post(f"{API}/tokens", json=token), 201).json()["token"])


def as_time(value):
    """A time, however a format writes it."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return datetime.fromisoformat(value.replace("Z", "+00:00"))


def plain(row, schema):
    """A row with Python's own types, whatever the format made of them."""
    out = {}
    for name, value in row.items():
        kind = schema[name]
        if value is None or value == "":
            out[name] = None
        elif kind == "time":
            out[name] = as_time(value)
        elif kind == "number":
            out[name] = float(value)
        else:
            out[name] = value
    return out


def formats():
    """The same request in every format gives the same rows."""
    desk = consumer("formats", 1_000_000, unit="rows")
    get = lambda form: must(desk.get(f"{CHANNEL}/data", params={**WEEK, "format": form}), 200)
    table = pa.ipc.open_stream(get("arrow").content).read_all()
    schema = {}
    for field in table.schema:
        if pa.types.is_timestamp(field.type):
            schema[field.name] = "time"
        elif pa.types.is_floating(field.type) or pa.types.is_integer(field.type):
            schema[field.name] = "number"
        else:
            schema[field.name] = "text"
    check("a channel has a time and numbers", {"time", "number"} <= set(schema.values()), schema)
    as_json = get("json")
    same("JSON says that it is JSON", as_json.headers["content-type"].split(";")[0], "application/json")
    ndjson = get("ndjson").content.decode().splitlines()
    found = {
        "arrow": table.to_pylist(),
        "parquet": pq.read_table(io.BytesIO(get("parquet").content)).to_pylist(),
        "json": as_json.json()["items"],
        "ndjson": [json.loads(line) for line in ndjson],
        "csv": list(csv.DictReader(io.StringIO(get("csv").content.decode("utf-8-sig")))),
    }
    rows = {form: [plain(row, schema) for row in rows] for form, rows in found.items()}
    same("an hour a row", len(rows["json"]), 48)
    for form in ("arrow", "parquet", "ndjson", "csv"):
        differ = [(a, b) for a, b in zip(rows["json"], rows[form]) if a != b]
        same(f"{form} has as many rows as JSON", len(rows[form]), len(rows["json"]))
        same(f"{form} has the rows of JSON", differ[:3], [])
    times = [row[next(n for n, k in schema.items() if k == "time")] for row in rows["json"]]
    low, high = (datetime.fromisoformat(WEEK[end]).replace(tzinfo=timezone.utc) for end in ("start", "end"))
    check("every time is in the window", all(low <= t < high for t in times))
    refused = desk.get(f"{CHANNEL}/data", params={**WEEK, "format": "xml"})
    check("an unknown format is refused with the known ones", refused.status_code == 422 and "parquet" in refused.text, refused.text)
    paged, cursor = [], None
    while True:
        params = {**WEEK, "limit": 20, **({"cursor": cursor} if cursor else {})}
        answer = must(desk.get(f"{CHANNEL}/data", params=params), 200)
        paged += answer.json()["items"]
        cursor = answer.headers.get("drip-cursor")
        same("a cut answer says so", answer.headers.get("drip-truncated") == "true", bool(cursor))
        if not cursor:
            break
    same("the pages together are the whole", paged, as_json.json()["items"])


def quota():
    """The quota refuses whole, says so to programs and to people, and a PUT does not reset it."""
    desk = consumer("desk", 2)
    for left in (1, 0):
        answer = must(desk.get(f"{CHANNEL}/data", params=WEEK), 200)
        same("what is left is told", answer.headers.get("drip-quota-remaining"), str(left))
    refused = desk.get(f"{CHANNEL}/data", params=WEEK)
    same("the third is refused", refused.status_code, 429)
    same("as a problem document", refused.headers["content-type"].split(";")[0], "application/problem+json")
    same("with a word for programs", refused.json()["code"], "quota_exhausted")
    stand = must(desk.get(f"{API}/users/desk/quota"), 200).json()["items"][0]
    same("the quota says so too", (stand["used"], stand["remaining"]), (2, 0))
    used = must(desk.get(f"{API}/users/desk/usage"), 200).json()["items"]
    same("usage by channel and day", [u["channel"] for u in used], ["wind/forecast"])
    same("not that of others", desk.get(f"{API}/users/formats/usage").status_code, 403)
    same("and nothing else", desk.get(f"{API}/datasets").status_code, 403)
    more = {"channel": "wind/forecast", "unit": "requests", "limit": 3, "period": "total"}
    must(admin.put(f"{API}/users/desk/quota", json=more), 200)
    statuses = [desk.get(f"{CHANNEL}/data", params=WEEK).status_code for _ in range(2)]
    same("one more was given, and only one", statuses, [200, 429])
    must(admin.delete(f"{CHANNEL}/grants/desk"), 204)
    check("without a grant it is closed", desk.get(f"{CHANNEL}/data", params=WEEK).status_code in (403, 404))


TABLE = pa.table(
    {
        "time": pa.array([datetime(2024, 1, 1, hour, tzinfo=timezone.utc) for hour in range(4)], pa.timestamp("us", tz="UTC")),
        "turbine": pa.array(["T1", "T2", "T1", None]),
        "power": pa.array([1.5, None, -2.25, 1e6]),
        "count": pa.array([1, 2, 3, 2**53 + 1], pa.int64()),
        "on": pa.array([True, False, None, True]),
    }
)


def parquet():
    out = io.BytesIO()
    # As pandas and Spark write it: compressed, with dictionaries, in several row groups.
    pq.write_table(TABLE, out, compression="snappy", row_group_size=2)
    return "application/vnd.apache.parquet", out.getvalue()


def arrow():
    out = io.BytesIO()
    with pa.ipc.new_stream(out, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=3)
    return "application/vnd.apache.arrow.stream", out.getvalue()


def datasets():
    """Tables that pyarrow wrote, and what is read back of them."""
    for name, (media_type, body) in {"from-parquet": parquet(), "from-arrow": arrow()}.items():
        path = f"{API}/datasets/{name}/1"
        put = must(admin.put(f"{path}?tag=wind", data=body, headers={"Content-Type": media_type}), 201).json()
        same(f"{name}: rows", put["rows"], 4)
        same(f"{name}: columns", [column["name"] for column in put["schema"]], TABLE.column_names)
        same(f"{name}: again is nothing new", admin.put(f"{path}?tag=wind", data=body, headers={"Content-Type": media_type}).status_code, 200)
        stats = must(admin.get(f"{path}/stats"), 200).json()
        stats = {s["name"]: s for s in stats.get("columns", stats.get("items", []))}
        power = stats["power"]
        same(f"{name}: counts and nulls", (power["count"], power["nulls"]), (3, 1))
        same(f"{name}: least and most", (power["min"], power["max"]), (-2.25, 1e6))
        check(f"{name}: mean", math.isclose(power["mean"], (1.5 - 2.25 + 1e6) / 3), power)
        preview = must(admin.get(f"{path}/preview"), 200).json()
        rows = preview.get("items", preview.get("rows"))
        expected = TABLE.to_pylist()
        for row, wanted in zip(rows, expected, strict=True):
            same(f"{name}: a row", {**row, "time": as_time(row["time"])}, wanted)
        card = must(admin.get(f"{API}/cards/dataset/{name}/1"), 200).json()
        same(f"{name}: its card", (card["kind"], card["name"]), ("dataset", name))
    cut = admin.put(f"{API}/datasets/cut/1", data=parquet()[1][:-20], headers={"Content-Type": parquet()[0]})
    check("a Parquet file that was cut off is refused", 400 <= cut.status_code < 500, cut.text)
    same("and leaves nothing", admin.get(f"{API}/datasets/cut/1").status_code, 404)


def sql():
    def ask(query, **more):
        return admin.post(f"{API}/sql", json={"query": query, **more})

    rows = must(ask('SELECT turbine, count(*) AS n, sum(power) AS kw FROM "from-parquet@1" GROUP BY turbine ORDER BY turbine'), 200).json()["items"]
    same("SQL groups", rows, [{"turbine": None, "n": 1, "kw": 1e6}, {"turbine": "T1", "n": 2, "kw": -0.75}, {"turbine": "T2", "n": 1, "kw": None}])
    rows = must(ask('SELECT count FROM "from-arrow" WHERE turbine = :t ORDER BY count', params={"t": "T1"}), 200).json()["items"]
    same("SQL takes parameters", rows, [{"count": 1}, {"count": 3}])
    answer = must(ask('SELECT * FROM "from-parquet"', format="arrow"), 200)
    back = pa.ipc.open_stream(answer.content).read_all()
    same("SQL answers Arrow", back.num_rows, 4)
    same("whole numbers stay whole", back.column("count").to_pylist(), TABLE.column("count").to_pylist())
    for wrong in ("DROP TABLE scada", "SELECT * FROM nothing", "SELECT", "ATTACH 'x' AS y", "PRAGMA writable_schema=1", "SELECT 1; SELECT 2"):
        refused = ask(wrong)
        check(f"`{wrong}` is refused", 400 <= refused.status_code < 500 and "code" in refused.json(), refused.text)


class Ndjson(logging.Handler):
    """Python's logging, a line a record."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "levelname": record.levelname,
            "stream": "consumer",
            "msg": record.getMessage(),
            "module": record.module,
            "filename": record.filename,
            "lineno": record.lineno,
            "fields": {"turbine": getattr(record, "turbine", None)},
        }
        self.lines.append(json.dumps(line, ensure_ascii=False))


def logs():
    handler = Ndjson()
    log = logging.getLogger("consumer")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(handler)
    log.debug("starting")
    log.warning("bearing hot on %s", "R80711", extra={"turbine": "R80711"})
    log.critical("塔筒振动超限")
    body = "\n".join(handler.lines).encode()
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "batch-1"}
    for _ in range(2):  # A retry is harmless.
        answer = must(admin.post(f"{API}/logs", data=body, headers=headers), 200).json()
        same("every line was taken", (answer["accepted"], answer["rejected"]), (3, []))
    get = lambda **query: must(admin.get(f"{API}/logs", params={"stream": "consumer", **query}), 200).json()["items"]
    same("newest first", [line["level"] for line in get()], ["CRITICAL", "WARNING", "DEBUG"])
    same("a level and above", len(get(level="WARNING")), 2)
    same("a word", [line["message"] for line in get(q="bearing")], ["bearing hot on R80711"])
    same("in Chinese", [line["message"] for line in get(q='"振动"')], ["塔筒振动超限"])
    same("a field", [line["file"] for line in get(**{"field.turbine": "R80711"})], ["consumer.py"])


def standard_library():
    """Nothing but what comes with Python."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(path, method="GET", body=None, token=TOKEN):
        request = urllib.request.Request(f"{API}{path}", method=method)
        request.data = json.dumps(body).encode() if body is not None else None
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    operator = {
        "source": "fn compute(a, b) { a + b * 2 + 1 }",
        "inputs": [{"name": "a", "type": "float"}, {"name": "b", "type": "float"}],
        "output": {"type": "float"},
    }
    same("PUT", call("/operators/linear/1.0.0", "PUT", operator)[0], 201)
    status, answer = call("/operators/linear/latest/compute", "POST", {"inputs": {"a": 78, "b": 9}})
    same("POST", (status, answer["output"], answer["version"]), (200, 97.0, "1.0.0"))
    status, answer = call("/operators/linear/latest/compute", "POST", {"rows": [{"a": n, "b": 0} for n in range(1000)]})
    same("a thousand rows", (status, answer["outputs"]), (200, [n + 1.0 for n in range(1000)]))
    same("a wrong token", call("/whoami", token="drip_wrong")[1]["code"], "unauthenticated")


for part in (formats, quota, datasets, sql, logs, standard_library):
    print(part.__name__, flush=True)
    part()
done()
