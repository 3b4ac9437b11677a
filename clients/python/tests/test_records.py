"""Cards and what else comes back: the JSON they were, with attributes and times."""

import copy
import json
import pickle
import unittest
from datetime import datetime, timedelta, timezone

from stub import Case

import drip
from drip._body import dump
from drip._key import Key
from drip._record import time_of

SENT = {
    "kind": "model",
    "name": "wind-power",
    "version": "1.2.0",
    "stage": "testing",
    "summary": "风电",
    "config": {"hidden": 64},
    "labels": {"site": "XJJX"},
    "own": [1],
    "revision": 3,
    "created_at": "2024-01-02T03:04:05.000006Z",
    "updated_at": "2024-01-02T03:04:06Z",
    "saved_by": "ada",
}


class Cards(Case):
    def test_a_card_is_its_json_with_attributes(self):
        card = drip.Card(SENT)
        self.assertEqual(json.loads(json.dumps(card)), SENT)
        self.assertEqual(card, SENT)
        self.assertEqual(card.ref, "model:wind-power@1.2.0")
        self.assertEqual(
            (card.name, card.revision, card.stage, card.saved_by),
            ("wind-power", 3, "testing", "ada"),
        )
        self.assertEqual((card.config["hidden"], card.labels["site"], card.own), (64, "XJJX", [1]))
        self.assertEqual(card.created_at, datetime(2024, 1, 2, 3, 4, 5, 6, timezone.utc))
        self.assertEqual(card.updated_at.utcoffset(), timedelta(0))

    def test_fields_that_are_not_there_are_empty_or_missing(self):
        card = drip.Card(kind="model", name="m", version="1")
        self.assertEqual((card.summary, card.revision, card.created_at), ("", 0, None))
        self.assertEqual((list(card.requires), list(card.data), card.algorithm), ([], [], ""))
        self.assertEqual(
            card, {"kind": "model", "name": "m", "version": "1"}, "looking changes nothing"
        )
        with self.assertRaisesRegex(AttributeError, "no field `windows`"):
            card.windows
        self.assertFalse(hasattr(card, "windows"))

    def test_attributes_can_be_set_and_nothing_is_lost(self):
        card = drip.Card(kind="model", name="m", version="1")
        card.summary, card.own, card.requires = "s", 7, ["a@1"]
        card.labels["site"] = "X"
        card.config["deep"] = {"er": 1}
        expected = {"kind": "model", "name": "m", "version": "1", "summary": "s", "own": 7}
        expected.update(requires=["a@1"], labels={"site": "X"}, config={"deep": {"er": 1}})
        self.assertEqual(card, expected)
        for name in ("created_at", "ref", "items", "update"):
            with self.assertRaises(AttributeError, msg=name):
                setattr(card, name, 1)
        with self.assertRaises(AttributeError):
            drip.Card(kind="model").requires.append("lost")

    def test_a_card_can_be_copied_and_sent_between_processes(self):
        card = drip.Card(SENT)
        for again in (copy.copy(card), copy.deepcopy(card), pickle.loads(pickle.dumps(card))):
            self.assertEqual((again, type(again)), (card, drip.Card))
        self.assertIn("Card({'kind': 'model'", repr(card))

    def test_words_of_python_are_reached_with_an_underscore(self):
        edge = drip.Edge(
            {"from": "model:m@1", "to": "algorithm:a@1", "field": "algorithm", "missing": True}
        )
        self.assertEqual((edge.from_, edge.to, edge.missing), ("model:m@1", "algorithm:a@1", True))
        changed = drip.Changed({"path": "/x", "change": "changed", "from": 1, "to": "二"})
        self.assertEqual((changed.from_, changed.to, str(changed)), (1, "二", "~ /x: 1 -> '二'"))

    def test_a_diff_can_be_read(self):
        changes = [
            {"path": "/a", "change": "added", "from": None, "to": 1},
            {"path": "/b", "change": "removed", "from": 2, "to": None},
        ]
        diff = drip.Diff({"from": 1, "to": 2, "changes": changes})
        self.assertEqual(str(diff), "+ /a: 1\n- /b: 2")
        self.assertEqual((diff.from_, diff.to), (1, 2))

    def test_times_are_read_however_they_are_written(self):
        moment = datetime(2024, 1, 2, 3, 4, 5, 600000, timezone.utc)
        for text in (
            "2024-01-02T03:04:05.6Z",
            "2024-01-02t03:04:05.600000z",
            "2024-01-02T03:04:05.600000999Z",
            "2024-01-02T11:04:05.6+08:00",
            "2024-01-02 03:04:05.6",
        ):
            self.assertEqual(time_of(text), moment, text)
        self.assertIsNone(time_of(None))
        for wrong in ("yesterday", "2024-13-01T00:00:00Z", "2024-01-02"):
            with self.assertRaises(ValueError, msg=wrong):
                time_of(wrong)

    def test_what_has_no_form_in_json_is_refused(self):
        self.assertEqual(
            dump({"t": datetime(2024, 1, 2, tzinfo=timezone.utc)}),
            b'{"t":"2024-01-02T00:00:00+00:00"}',
        )
        for wrong, error in (
            ({"x": float("nan")}, ValueError),
            ({"x": datetime(2024, 1, 2)}, TypeError),
            ({"x": {1}}, TypeError),
            ({"x": "\ud800"}, ValueError),
        ):
            with self.assertRaises(error, msg=wrong):
                dump(wrong)


class Names(Case):
    def test_a_card_is_named_in_three_ways(self):
        for named in (
            "model:wind-power@1.2.0",
            ("model", "wind-power", "1.2.0"),
            drip.Card(SENT),
            {"kind": "model", "name": "wind-power", "version": "1.2.0"},
        ):
            self.assertEqual(Key.of(named).path(), "/api/v1/cards/model/wind-power/1.2.0")
        self.assertEqual(Key.of("model:a:b@c@2").path(), "/api/v1/cards/model/a%3Ab%40c/2")

    def test_without_a_version_the_latest_is_read_and_none_is_written(self):
        for named in ("model:m", ("model", "m"), {"kind": "model", "name": "m"}):
            self.assertEqual(Key.of(named).path("/diff"), "/api/v1/cards/model/m/latest/diff")
            with self.assertRaisesRegex(drip.Invalid, "needs its version"):
                Key.of(named).path(exact=True)

    def test_what_names_no_card_is_told_with_every_fault(self):
        for wrong, pointers in (
            ("wind-power@1", ["/kind"]),
            ("", ["/kind", "/name"]),
            ("model:@1", ["/name"]),
            ({"kind": "model", "name": 7, "version": ["1"]}, ["/name", "/version"]),
            ({}, ["/kind", "/name"]),
            ((None, "m", ""), ["/kind", "/version"]),
        ):
            with self.assertRaises(drip.Invalid, msg=wrong) as caught:
                Key.of(wrong)
            self.assertEqual([fault.pointer for fault in caught.exception.errors], pointers)
            self.assertIn("kind:name@version", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
