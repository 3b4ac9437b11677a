"""The package as a whole: what it needs, what it says of itself."""

import ast
import inspect
import re
import sys
import unittest
from pathlib import Path

import stub  # noqa: F401  (finds the package)

import drip

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src" / "drip").glob("*.py"))


class Package(unittest.TestCase):
    @unittest.skipUnless(
        hasattr(sys, "stdlib_module_names"), "this Python does not know its modules"
    )
    def test_nothing_but_the_standard_library_is_imported(self):
        imported = set()
        for path in SOURCES:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {name.name.partition(".")[0] for name in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    imported.add(node.module.partition(".")[0])
        self.assertEqual(imported - set(sys.stdlib_module_names), set())
        self.assertGreater(len(imported), 5)

    def test_everything_public_says_what_it_is(self):
        missing = []
        for name in drip.__all__:
            thing = getattr(drip, name)
            if not isinstance(thing, str) and not inspect.getdoc(thing):
                missing.append(name)
            if not inspect.isclass(thing) or not issubclass(thing, object):
                continue
            for member, value in vars(thing).items():
                is_code = inspect.isfunction(value) or isinstance(value, (property, classmethod))
                if not member.startswith("_") and is_code and not inspect.getdoc(value):
                    missing.append(f"{name}.{member}")
        self.assertEqual(missing, [])

    def test_every_file_says_what_it_is(self):
        for path in [*SOURCES, *ROOT.glob("tests/*.py"), *ROOT.glob("examples/*.py")]:
            self.assertTrue(ast.get_docstring(ast.parse(path.read_text("utf-8"))), path)

    def test_the_version_is_said_once(self):
        text = (ROOT / "pyproject.toml").read_text("utf-8")
        self.assertEqual(re.search(r'^version = "(.*)"$', text, re.M).group(1), drip.__version__)

    def test_it_says_that_it_is_typed(self):
        self.assertTrue((ROOT / "src" / "drip" / "py.typed").exists())

    def test_the_readmes_speak_of_every_method(self):
        for name in ("README.md", "README.zh-CN.md"):
            text = (ROOT / name).read_text("utf-8")
            for thing, prefix in ((drip.Fiche, "fiche"), (drip.Observers, "fiche.observers")):
                for method in vars(thing):
                    if not method.startswith("_") and method not in ("over", "close"):
                        self.assertIn(f"{prefix}.{method}(", text, name)


if __name__ == "__main__":
    unittest.main()
