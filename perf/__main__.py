"""`python -m perf` lists the benches; `python -m perf NAME [arguments]` runs one."""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent


def find_benches(folder: Path = FOLDER) -> Iterator[tuple[str, str]]:
    """Yield (name, first line of the docstring) of each bench, by name; a bench is a module right in the folder."""
    for path in sorted(folder.glob("[!_]*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        yield path.stem, docstring.partition("\n")[0]


def main(arguments: list[str]) -> int:
    """Run the command line; returns 2 for a name that is no bench."""
    benches = dict(find_benches())
    if not arguments:
        width = max(map(len, benches), default=0)
        for name, sentence in benches.items():
            print(f"{name:<{width}}  {sentence}")
        return 0
    name = arguments[0]
    if name not in benches:
        print(f"no bench is named {name}; there are: {', '.join(benches) or 'none yet'}", file=sys.stderr)
        return 2
    sys.argv = [f"perf.{name}", *arguments[1:]]
    runpy.run_module(f"perf.{name}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
