"""Opening, printing and drawing a saved result needs neither the model nor torch; the pictures know only core."""

import ast
import subprocess
import sys
from pathlib import Path

from show.show_samples import every_result

CODE = """
import io, sys
from rich.console import Console
from exegete.core.store import open_result
from exegete.show.render import page
for path in sys.argv[1:]:
    result = open_result(path)
    Console(file=io.StringIO()).print(result)
    assert result._repr_html_() and page(result) and result.to_dict()
heavy = {"torch", "transformers", "sklearn", "scipy", "pandas"} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_saved_result_is_drawn_without_torch(tmp_path):
    paths = [r.save(str(tmp_path / f"{r.type}.exg")) for r in every_result()]
    done = subprocess.run([sys.executable, "-c", CODE, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_pictures_import_core_and_show_only():
    allowed = {"exegete.core", "exegete.show", "rich", "jinja2", "numpy"}
    for file in Path(sys.modules["exegete.show"].__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                first = name.split(".")[0]
                room = ".".join(name.split(".")[:2]) if first == "exegete" else first
                assert room in allowed or first in sys.stdlib_module_names, f"{file.name} imports {name}"
