"""Generated files are always those that the generator writes, in the formatter's own form."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.avsc import MessageVersion
from schemas.errors import SchemaFileError
from topics.generate import ROOT, main, render_all, stale_files, write_all
from topics.render_messages import NamedTypes, annotation_of, render_messages

pytestmark = pytest.mark.unit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the topic and schema files alone."""
    for folder, pattern in (("schemas", "*.avsc"), ("topics", "*.yaml")):
        (tmp_path / folder).mkdir()
        for path in (ROOT / folder).glob(pattern):
            shutil.copy(path, tmp_path / folder)
    return tmp_path


def test_the_committed_files_are_fresh() -> None:
    """What is committed is what the sources say."""
    assert stale_files() == []


def test_everything_is_written_once_and_then_fresh(root: Path) -> None:
    """A second run writes nothing."""
    assert set(write_all(root)) == set(render_all(root))
    assert write_all(root) == []


def test_check_names_the_stale_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, one line a file; after a run, 0."""
    assert main([], root) == 0
    (root / "topics" / "catalog.py").write_text("stale", encoding="utf-8")
    (root / "schemas" / "ids.json").unlink()
    capsys.readouterr()
    assert main(["--check"], root) == 1
    assert capsys.readouterr().out.splitlines() == [
        "schemas/ids.json is stale: run `make generate`",
        "topics/catalog.py is stale: run `make generate`",
    ]
    assert (root / "topics" / "catalog.py").read_text(encoding="utf-8") == "stale"
    assert main([], root) == 0
    assert main(["--check"], root) == 0


def test_a_broken_file_ends_with_its_remedy(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 for files that cannot be read, and for wrong usage."""
    (root / "topics" / "x.v1.yaml").write_text("name: x.v1", encoding="utf-8")
    assert main([], root) == 2
    assert "x.v1.yaml" in capsys.readouterr().err
    assert main(["--chekc"], root) == 2
    assert "usage" in capsys.readouterr().err


def test_an_incompatible_version_is_not_generated(root: Path) -> None:
    """A field without a default stops `make generate`, before anybody writes with it."""
    schema = json.loads((root / "schemas" / "ModelFitted.1.avsc").read_text(encoding="utf-8"))
    schema["schema_id"] = len(list((root / "schemas").glob("*.avsc"))) + 1
    schema["fields"].append({"name": "size", "type": "long", "doc": "Bytes."})
    (root / "schemas" / "ModelFitted.2.avsc").write_text(json.dumps(schema), encoding="utf-8")
    with pytest.raises(SchemaFileError) as raised:
        render_all(root)
    assert "size" in raised.value.detail
    schema["fields"][-1]["default"] = 0
    (root / "schemas" / "ModelFitted.2.avsc").write_text(json.dumps(schema), encoding="utf-8")
    assert "    size: int = 0\n" in render_all(root)[Path("schemas/messages.py")]


def test_a_new_topic_is_one_file(root: Path) -> None:
    """The catalogue, the ids and the page follow from the YAML."""
    text = (root / "topics" / "model.fitted.v1.yaml").read_text(encoding="utf-8")
    (root / "topics" / "model.dropped.v2.yaml").write_text(
        text.replace("model.fitted.v1", "model.dropped.v2"), encoding="utf-8"
    )
    texts = render_all(root)
    assert "\nMODEL_DROPPED_V2 = Topic(\n" in texts[Path("topics/catalog.py")]
    assert json.loads(texts[Path("schemas/ids.json")])["model.dropped.v2"] == 7
    assert "`model.dropped.v2`" in texts[Path("docs/generated/topics.md")]


@pytest.mark.parametrize("path", ["schemas/messages.py", "topics/catalog.py"])
def test_generated_code_is_formatted(path: str) -> None:
    """The formatter changes nothing: the generator and `make fmt` never fight."""
    text = (ROOT / path).read_bytes()
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "120", "-"]
    assert subprocess.run(command, input=text, capture_output=True, check=True).stdout == text


def version(*fields: dict[str, Any], **keys: Any) -> MessageVersion:
    """A made-up message with these fields."""
    documented = [{"doc": "A field.", **field} for field in fields]
    schema = {"type": "record", "name": "Made", "doc": "Made up.", "fields": documented} | keys
    return MessageVersion(message="Made", version=1, schema_id=1, schema=schema)


def fixed(name: str, size: int, **keys: Any) -> dict[str, Any]:
    """A fixed type."""
    return {"type": "fixed", "name": name, "size": size, **keys}


def test_defaults_are_those_of_the_python_type() -> None:
    """A default of a fixed is written as the code points of a text, and read as bytes or a number."""
    number = fixed("N2", 2, logicalType="decimal", precision=4, scale=0)
    text = render_messages(
        [
            version(
                {"name": "ident", "type": fixed("Ident", 2), "default": "\u0000\u00ff"},
                {"name": "count", "type": number, "default": "\u0001\u0000"},
                {"name": "ratio", "type": "double", "default": 1},
                {"name": "names", "type": {"type": "array", "items": "string"}, "default": []},
                {"name": "title", "type": "string", "default": 'a"b'},
                {"name": "is_late", "type": "boolean", "default": False},
                {"name": "limit", "type": ["null", "long"], "default": None},
            )
        ]
    )
    for line in (
        'ident: bytes = b"\\x00\\xff"',
        "count: int = 256",
        "ratio: float = 1.0",
        "names: tuple[str, ...] = ()",
        'title: str = "a\\"b"',
        "is_late: bool = False",
        "limit: int | None = None",
    ):
        assert f"    {line}\n" in text
    assert "field(default_factory" not in text
    assert "import dataclass\n" in text


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (version({"name": "kind", "type": {"type": "enum", "name": "K", "doc": "K.", "symbols": ["a"]}}), "K"),
        (
            version({"name": "k", "type": {"type": "enum", "name": "K", "symbols": ["unknown"], "default": "unknown"}}),
            "K",
        ),
        (version({"name": "count", "type": "long", "doc": ""}), "count"),
        (version(doc=""), "Made"),
        (version({"name": "a", "type": fixed("F", 1)}, {"name": "b", "type": fixed("F", 2)}), "F"),
    ],
)
def test_a_schema_that_breaks_a_rule_is_named(made: MessageVersion, field: str) -> None:
    """Enums start with `unknown`, everything has a doc, one name is one type."""
    with pytest.raises(SchemaFileError) as raised:
        render_messages([made])
    assert raised.value.field == field


def test_references_have_the_type_that_they_name() -> None:
    """A name stands for the type that was defined before."""
    named = NamedTypes(fixed={"F": fixed("F", 1)}, enums={"K": {"type": "enum", "name": "K"}})
    assert annotation_of(["null", "F"], named) == "bytes | None"
    assert annotation_of({"type": "map", "values": "K"}, named) == "Mapping[str, K]"
