"""The built-in templates: Jinja2 in its sandbox, everything escaped, compiled once."""

from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

# Data never holds a control character when it is rendered, so that no text can pass for one of these.
MARK = "\x00{}\x00"

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def built_in(name: str) -> Template:
    """The compiled template of a file in sinks/templates."""
    return _ENVIRONMENT.get_template(name)


def mark(name: str) -> str:
    """A place in a rendered text that is filled per message; safe in HTML text and attributes."""
    return MARK.format(name)
