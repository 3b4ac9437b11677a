"""Which daemon and as whom: arguments, the environment, what ``dripctl login`` keeps."""

import contextlib
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from stub import Case

import drip
from drip import _where

KEPT = """\
[tokens]
"http://127.0.0.1:22315" = "jwt-here"
"https://drip.example:8443" = 'jwt-there'  # in single quotes
"http://od\\"d\\u98ce" = "x=\\\\y"

[other]
"http://not.me" = "no"
"""


class Where(Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name)
        self.file = self.home / "drip" / "credentials.toml"
        self.environment(XDG_CONFIG_HOME=folder.name)

    def environment(self, **variables):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("DRIP_", "XDG_"))}
        patched = mock.patch.dict(os.environ, {**clean, **variables}, clear=True)
        patched.start()
        self.addCleanup(patched.stop)

    def keep(self, text):
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(text, "utf-8")

    def test_what_is_given_wins(self):
        self.keep(KEPT)
        self.environment(DRIP_URL="http://env", DRIP_TOKEN="env", XDG_CONFIG_HOME=str(self.home))
        self.assertEqual(_where.find("http://x/", "t"), ("http://x", "t"))
        self.assertEqual(_where.find(None, "t"), ("http://env", "t"))
        self.assertEqual(
            _where.find("http://127.0.0.1:22315", None), ("http://127.0.0.1:22315", "env")
        )

    def test_then_the_environment(self):
        self.environment(DRIP_URL="http://env/", DRIP_TOKEN="env")
        self.assertEqual(_where.find(None, None), ("http://env", "env"))
        self.environment(DRIP_URL="", DRIP_TOKEN="", XDG_CONFIG_HOME=str(self.home))
        self.assertEqual(_where.find(None, None), ("http://127.0.0.1:22315", None))

    def test_then_what_was_kept_for_the_address(self):
        self.keep(KEPT)
        self.assertEqual(_where.find(None, None), ("http://127.0.0.1:22315", "jwt-here"))
        self.assertEqual(_where.find("https://drip.example:8443/", None)[1], "jwt-there")
        self.assertEqual(_where.find("http://elsewhere", None), ("http://elsewhere", None))
        self.environment(HOME=str(self.home / "ada"))
        self.assertEqual(_where.find(None, None), ("http://127.0.0.1:22315", None))
        config = self.home / "ada" / ".config" / "drip"
        config.mkdir(parents=True)
        self.file.rename(config / "credentials.toml")
        self.assertEqual(_where.find(None, None), ("http://127.0.0.1:22315", "jwt-here"))

    def test_the_only_address_that_was_kept_is_meant_and_of_several_none(self):
        self.keep('[tokens]\n"http://one" = "1"\n')
        self.assertEqual(_where.find(None, None), ("http://one", "1"))
        self.keep('[tokens]\n"http://one" = "1"\n"http://two" = "2"\n')
        with self.assertRaisesRegex(drip.DripError, "http://one, http://two"):
            _where.find(None, None)
        self.keep("[tokens]\n")
        self.assertEqual(_where.find(None, None), ("http://127.0.0.1:22315", None))

    def test_the_file_is_read_as_toml_reads_it(self):
        self.keep(KEPT)
        found = _where.kept_tokens()
        with contextlib.suppress(ImportError):
            import tomllib

            self.assertEqual(found, tomllib.loads(KEPT)["tokens"])
        self.assertEqual(found['http://od"d风'], "x=\\y")
        self.assertEqual(len(found), 3)

    def test_a_file_that_cannot_be_read_is_told(self):
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(b"[tokens]\n\xff")
        with self.assertRaisesRegex(drip.DripError, "credentials.toml"):
            _where.find(None, None)

    def test_a_client_finds_them_too(self):
        self.keep('[tokens]\n"http://one:1/drip" = "1"\n')
        with drip.Fiche() as client:
            self.assertEqual(client.connection.url, "http://one:1/drip")


if __name__ == "__main__":
    unittest.main()
