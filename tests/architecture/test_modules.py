"""The shape of modules: what they open with, how large they are, and what they may be called."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from topics.catalog import BY_NAME

pytestmark = pytest.mark.architecture

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_ARGUMENTS = 6
BANNED_MODULES = frozenset({"utils", "util", "helpers", "common", "misc", "base", "manager", "core", "shared", "lib"})
BANNED_WORDS = frozenset({"data", "info", "obj", "process", "handle", "do", "perform"})
# Names that a base class of the standard library dictates.
DICTATED = frozenset(
    {"handle_starttag", "handle_startendtag", "handle_endtag", "handle_data", "data_received", "do_GET", "do_POST"}
)
# Terms of art that hold a banned word: a wrapped key of a row (NIST SP 800-57), a field of Amazon SES.
TERMS = re.compile(r"data_key|template_data")
# What ruff lets pass with a reason (PLR0913) passes here.
EXCUSED = re.compile(r"# noqa: PLR0913  - \w+")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
SQL_COMMENT = re.compile(r"--.*$", re.MULTILINE)
TOPIC_NAME = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in sorted(BY_NAME, key=len, reverse=True)))
Function = ast.FunctionDef | ast.AsyncFunctionDef
Trees = dict[str, ast.Module]


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method of a tree, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def lines(node: Function) -> int:
    """Lines of a function from its `def` to its end, its docstring included."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def argument_count(node: Function) -> int:
    """Arguments of a function without self and cls."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return len([one for one in arguments if one.arg not in {"self", "cls"}])


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, lower case."""
    return {word.lower() for word in WORD.findall(name)}


def literals(tree: ast.Module) -> Iterator[ast.Constant]:
    """String constants of a tree that are no docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | Function) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def test_every_module_opens_with_a_sentence(product: Trees, tests: Trees) -> None:
    """A module's first words are one sentence that says what it owns; an empty __init__ owns nothing."""
    offenders = []
    for path, tree in {**product, **tests}.items():
        if not tree.body:
            continue
        opening = (ast.get_docstring(tree) or "").split("\n\n")[0].strip()
        if not opening or opening[-1] not in ".:!?" or len(opening.split()) < 3:
            offenders.append(path)
    assert offenders == []


def test_no_module_is_longer_than_400_lines(written: Trees, root: Path) -> None:
    """Reaching the cap means that a second noun hides in the file."""
    lengths = {path: len((root / path).read_text(encoding="utf-8").splitlines()) for path in written}
    assert {path: length for path, length in lengths.items() if length > MAX_MODULE_LINES} == {}


def test_no_function_is_longer_than_50_lines(written: Trees) -> None:
    """A function fits on a screen."""
    found = {f"{path}:{node.name}": lines(node) for path, tree in written.items() for node in functions(tree)}
    assert {name: length for name, length in found.items() if length > MAX_FUNCTION_LINES} == {}


def test_no_function_takes_more_than_six_arguments(written: Trees, root: Path) -> None:
    """More than six arguments are a missing noun, unless a reason stands beside; a command takes one an option."""
    texts = {path: (root / path).read_text(encoding="utf-8").splitlines() for path in written}
    found = {
        f"{path}:{node.name}": argument_count(node)
        for path, tree in written.items()
        if not path.startswith("publishing/cli/")
        for node in functions(tree)
        if not EXCUSED.search(texts[path][node.lineno - 1])
    }
    assert {name: count for name, count in found.items() if count > MAX_ARGUMENTS} == {}


def test_no_module_is_a_drawer(product: Trees, tests: Trees) -> None:
    """No module or folder is named after nothing in particular."""
    found = {
        path
        for path in {**product, **tests}
        if BANNED_MODULES & {part.removesuffix(".py") for part in Path(path).parts}
    }
    assert found == set()


def test_names_say_what_is_meant(written: Trees) -> None:
    """Modules, classes and functions do without the words that fit everything."""
    offenders = [path for path in written if words(Path(path).stem) & BANNED_WORDS]
    for path, tree in written.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef | Function) or node.name in DICTATED:
                continue
            if words(TERMS.sub("", node.name)) & BANNED_WORDS:
                offenders.append(f"{path}:{node.name}")
    assert offenders == []


def test_topic_names_stand_in_the_catalogue_only(written: Trees, root: Path) -> None:
    """Code names a topic by its constant; the catalogue and the schemas are the only places of the text."""
    offenders = [
        f"{path}:{node.lineno}"
        for path, tree in written.items()
        if not path.startswith(("topics/", "schemas/"))
        for node in literals(tree)
        if isinstance(node.value, str) and TOPIC_NAME.search(node.value)
    ]
    offenders += [
        str(path.relative_to(root))
        for folder in ("publishing", "migrations")
        for path in sorted((root / folder).rglob("*.sql"))
        if TOPIC_NAME.search(SQL_COMMENT.sub("", path.read_text(encoding="utf-8")))
    ]
    assert offenders == []


def test_every_test_states_its_rule(tests: Trees) -> None:
    """A test's docstring is one line: the rule."""
    offenders = []
    for path, tree in tests.items():
        if not Path(path).name.startswith("test_"):
            continue
        for node in functions(tree):
            rule = ast.get_docstring(node) or ""
            if node.name.startswith("test_") and (not rule or "\n" in rule):
                offenders.append(f"{path}:{node.name}")
    assert offenders == []


# A rule that finds nothing in a good tree has proved nothing: each finds what it is for in a bad one.
BAD = ast.parse(
    '''
def perform_lookup(a, b, c, d, e, f, g):
    """Send to content.ready.v1."""
    topic = "x.content.ready.v1"
    return topic


class UserData:
    """Nothing."""
'''
    + "\n".join(["def long():"] + ["    pass"] * MAX_FUNCTION_LINES)
)


def test_the_rules_find_what_they_are_for() -> None:
    """A module that breaks the rules is found by each of them; a docstring may name a topic."""
    first, last = [node for node in functions(BAD) if node.name in {"perform_lookup", "long"}]
    assert argument_count(first) == MAX_ARGUMENTS + 1
    assert lines(last) == MAX_FUNCTION_LINES + 1
    assert words("perform_lookup") & BANNED_WORDS == {"perform"}
    assert words("UserData") & BANNED_WORDS == {"data"}
    assert words("HTTPDataLoader") & BANNED_WORDS == {"data"}
    assert words("metadata_of") & BANNED_WORDS == set()
    assert [node.lineno for node in literals(BAD) if TOPIC_NAME.search(str(node.value))] == [4]
