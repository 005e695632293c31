"""Writes what is derived from topics/*.yaml and schemas/*.avsc: `python -m topics.generate [--check]`."""

from __future__ import annotations

import sys
from pathlib import Path

from schemas.avsc import latest, load_versions
from schemas.compatibility import incompatibilities
from schemas.errors import SchemaFileError
from topics.errors import TopicError
from topics.files import load_topics
from topics.render_catalog import render_catalog, render_ids
from topics.render_docs import render_messages_page, render_topics_page
from topics.render_messages import render_messages

ROOT = Path(__file__).parent.parent


def render_all(root: Path = ROOT) -> dict[Path, str]:
    """The text of each generated file, by its path under `root`; raises TopicError or SchemaFileError."""
    versions = load_versions(root / "schemas")
    for sentence in incompatibilities(versions):
        raise SchemaFileError(f"{sentence.partition(':')[0]}.*.avsc", "", f"{sentence}: give added fields a default")
    newest = latest(versions)
    topics = load_topics(newest, root / "topics")
    return {
        Path("schemas/messages.py"): render_messages(versions),
        Path("schemas/ids.json"): render_ids(topics, newest),
        Path("topics/catalog.py"): render_catalog(topics),
        Path("docs/generated/topics.md"): render_topics_page(topics, newest),
        Path("docs/generated/messages.md"): render_messages_page(versions),
    }


def stale_files(root: Path = ROOT) -> list[Path]:
    """The generated files under `root` that are missing or differ from what would be written."""
    return [
        path
        for path, text in render_all(root).items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def write_all(root: Path = ROOT) -> list[Path]:
    """Writes the stale files under `root` and returns them."""
    texts = render_all(root)
    written = stale_files(root)
    for path in written:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(texts[path], encoding="utf-8")
    return written


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Exit code 0 when all is written or fresh, 1 when `--check` found a stale file, 2 on wrong usage or files."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m topics.generate [--check]\n")
        return 2
    try:
        stale = stale_files(root) if arguments else write_all(root)
    except (TopicError, SchemaFileError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for path in stale:
        sys.stdout.write(f"{path} is stale: run `make generate`\n" if arguments else f"wrote {path}\n")
    return 1 if arguments and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
