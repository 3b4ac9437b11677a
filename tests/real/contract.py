"""Requests generated from the API's own description: no answer may be a fault of ours.

Schemathesis makes, for every operation that `/openapi.json` describes, requests that fit the
description and requests that do not. None may be answered with 5xx, and every refusal must be a
problem document.
"""

import collections
import json
import os

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import booleans
from schemathesis import GenerationMode

from suite import TOKEN, URL, check, done

EXAMPLES = int(os.environ.get("SUITE_EXAMPLES", "8"))

# Left out, each for a reason:
LEFT_OUT = {
    # Streams of server-sent events go on for ever, so the whole answer never comes. They are
    # followed in tests/trajectory and tests/fiche.
    ("GET", "/api/v1/logs/tail"),
    ("GET", "/api/v1/changes/stream"),
}

# The clients of others expect refusals as their protocols have them: a google.rpc.Status, or a sentence.
FOREIGN = {"/v1/logs", "/otlp/v1/logs", "/loki/api/v1/push"}

# What the demo left, by the name of the part of the path, and where that is not enough by the
# collection too.
KNOWN = {
    "kind": "model",
    "version": "latest",
    "bucket": "models",
    "user": "grid-desk",
    "group": "wind",
    ("channels", "name"): "forecast",
    ("users", "name"): "grid-desk",
    ("cards", "name"): "wind-power",
    ("pipelines", "name"): "wind-power",
    ("schedules", "name"): "wind-power",
    ("datasets", "name"): "scada",
    ("operators", "name"): "air-density",
    ("packages", "name"): "wind-power",
}

@schemathesis.serializer("application/x-ndjson", "application/vnd.drip.caskpkg", "application/octet-stream", "application/x-protobuf")
def bytes_as_they_are(_context, value):
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return bytes(value) if isinstance(value, (bytes, bytearray)) else json.dumps(value, default=str).encode()


schema = schemathesis.openapi.from_url(f"{URL}/openapi.json")
schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
statuses = collections.Counter()
session = requests.Session()
session.trust_env = False
session.headers["Authorization"] = f"Bearer {TOKEN}"


def look(case, answer, seen):
    """What must hold of every answer."""
    statuses[answer.status_code // 100] += 1
    what = f"{case.method} {case.formatted_path}"
    if answer.status_code >= 500:
        seen.append(f"{what} → {answer.status_code} {answer.text[:300]}\n  {case.as_curl_command()}")
    elif answer.status_code >= 400 and case.operation.path in FOREIGN:
        if not answer.content:
            seen.append(f"{what} → {answer.status_code} without a word")
    elif answer.status_code >= 400 and case.method != "HEAD":
        kind = "".join(answer.headers.get("content-type", [])).split(";")[0]
        body = answer.json() if kind == "application/problem+json" else {}
        if body.get("status") != answer.status_code or not body.get("code") or not body.get("detail"):
            seen.append(f"{what} → {answer.status_code} {kind}, no problem document: {answer.text[:200]}")


def walk(operation):
    """Calls one operation with generated requests; answers what was wrong."""
    seen, count = [], 0

    @seed(20140330)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @schemathesis_given(operation)
    def one(case, known):
        nonlocal count
        if known and operation.method.upper() != "DELETE":
            # Made-up names find nothing; these find what the demo left.
            for name in case.path_parameters or {}:
                case.path_parameters[name] = KNOWN.get((operation.path.split("/")[3], name)) or KNOWN.get(name) or case.path_parameters[name]
        count += 1
        look(case, case.call(session=session, timeout=60), seen)

    one()
    return seen, count


def schemathesis_given(operation):
    modes = [operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]
    return given(case=modes[0] | modes[1], known=booleans())


def references(value):
    """Every `$ref` below a value."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    for part in value if isinstance(value, list) else []:
        yield from references(part)


# A reference that leads nowhere makes a shape of anything: requests would be made up from nothing.
shapes = schema.raw_schema["components"]["schemas"]
dangling = {to for to in references(schema.raw_schema) if to.removeprefix("#/components/schemas/") not in shapes}
check("every reference of the description leads somewhere", not dangling, sorted(dangling))

found, operations, requests_made = {}, 0, 0
for result in schema.get_all_operations():
    operation = result.ok()
    name = (operation.method.upper(), operation.path)
    if name in LEFT_OUT:
        print(f"left out: {name[0]} {name[1]}", flush=True)
        continue
    operations += 1
    try:
        found[name], count = walk(operation)
        requests_made += count
    except Exception as error:  # a request that cannot be made is a fault of the description
        found[name], count = [f"{type(error).__name__}: {error}"], 0
    check(f"{name[0]} {name[1]}", not found[name], "\n  ".join(found[name][:5]))
    if count == 0:
        check(f"{name[0]} {name[1]} was called", False)
alive = session.get(f"{URL}/readyz", timeout=30)
check("the daemon is ready after all this", alive.status_code == 200, alive.text)
# Requests that are all refused at the door would find nothing behind it.
check("many requests went through", statuses[2] > requests_made // 10, statuses)
print(f"{operations} operations, {requests_made} requests, by status {dict(sorted(statuses.items()))}", flush=True)
done()
