"""What Drip 0.1 left in MongoDB: one document for every save, in no order, with what people and
bugs put there beside. Written into a database, as a dump of `mongodump`, and as `mongoexport` has it;
what an import must make of it is worked out here, apart from Drip.

    python left_by_01.py mongodb://… DATABASE FOLDER
"""

import datetime
import json
import os
import random
import sys

import bson
import pymongo
from bson import json_util

URL, DATABASE, FOLDER = sys.argv[1:4]
random.seed(7)
START = datetime.datetime(2022, 5, 30, 8, 0, 0)
FIELDS = {
    "algorithm": ["homepage", "author", "authoremail", "license", "requires", "requiredby"],
    "model": ["requires", "data", "algorithm"],
    "parameter": ["datatype", "requiredby"],
    "application": ["requires", "project"],
    "dataset": ["requiredby", "datatype", "project"],
}
REFERENCES = {"requires", "requiredby", "data", "algorithm"}
NAMES = ["LSTM-v2", "GBDT_功率预测", "风电 功率", "load forecast", "光伏"]


def saves(kind):
    """Every save of one kind: each card several times, its times shuffled."""
    documents = []
    for number in range(40):
        name, version = f"{NAMES[number % 5]} {number}", f"1.{number % 3}.0"
        for again in range(random.randint(1, 5)):
            document = {
                "_id": bson.ObjectId(),
                "name": name,
                "version": version,
                "summary": f"{kind} {name}, save {again}",
                "config": f'{{"depth": {again}}}',
                "remark": "备注" * again,
                "time": START + datetime.timedelta(minutes=number, milliseconds=again * 7),
            }
            for field in FIELDS[kind]:
                document[field] = "a@1,b" if field in REFERENCES else f"{field} {again}"
            if number % 7 == 0:
                # Saved before these fields were there.
                document.pop("remark")
                document.pop(FIELDS[kind][-1])
            if number % 11 == 0:
                document["time"] = document["time"].strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
            documents.append(document)
    random.shuffle(documents)
    return documents


def newest(documents):
    """The cards that they make, by name and version: of each the summary of the newest save."""
    cards = {}
    for document in documents:
        time = document["time"]
        if isinstance(time, str):
            time = datetime.datetime.strptime(time, "%Y-%m-%d %H:%M:%S.%f")
        key = f"{document['name']}@{document['version']}"
        if key not in cards or cards[key][0] < time:
            cards[key] = (time, document["summary"])
    return {key: summary for key, (_, summary) in cards.items()}


JUNK = [
    {"version": "1", "time": START},
    {"name": "no version"},
    {"name": "a/b", "version": "1", "time": START},
    {"name": "number", "version": 1.5, "time": START},
    {"name": "text", "version": "1", "summary": {"no": "text"}, "time": START},
    {"name": "null", "version": None, "time": START},
    {},
]

collections, expected = {}, {}
for kind in FIELDS:
    documents = saves(kind)
    cards = newest(documents)
    junk = [dict(document, _id=bson.ObjectId()) for document in JUNK] if kind == "model" else []
    # Without a time it is older than any that has one.
    untimed = {**documents[0], "_id": bson.ObjectId(), "summary": "no time"}
    untimed.pop("time")
    collections[f"{kind}_info"] = [*junk, *documents, untimed]
    expected[kind] = {
        "cards": cards,
        "read": len(documents) + len(junk) + 1,
        "merged": len(documents) + 1 - len(cards),
        "rejected": [str(document["_id"]) for document in junk],
    }
observer = {"name": "hq", "version": "1.0", "summary": "default summary", "time": START}
collections["observer_info"] = [dict(observer, _id=bson.ObjectId()) for _ in range(3)]
# A collection that is none of ours must not be looked at.
collections["user_info"] = [{"name": "eve", "password": "hunter2"}]

database = pymongo.MongoClient(URL)[DATABASE]
dump = os.path.join(FOLDER, "dump", DATABASE)
export = os.path.join(FOLDER, "export")
os.makedirs(dump)
os.makedirs(export)
for name, documents in collections.items():
    database[name].insert_many(documents)
    with open(os.path.join(dump, f"{name}.bson"), "wb") as file:
        for document in documents:
            file.write(bson.encode(document))
    with open(os.path.join(dump, f"{name}.metadata.json"), "w") as file:
        json.dump({"indexes": [], "collectionName": name}, file)
    with open(os.path.join(export, f"{name}.json"), "w", encoding="utf-8") as file:
        for document in documents:
            file.write(json_util.dumps(document, json_options=json_util.CANONICAL_JSON_OPTIONS))
            file.write("\n")
with open(os.path.join(FOLDER, "expected.json"), "w", encoding="utf-8") as file:
    json.dump(expected, file)
