"""Owns the command `tidewire`: one sub-app a module, and how errors become a line and an exit code."""

from __future__ import annotations

import sys
from typing import Any, Final

import typer
from typer.core import TyperGroup

from publishing.cli import dlq, migrate, run, services, token, topics
from publishing.cli.failures import exit_code_of, lines_of

INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""


class OneLineErrors(TyperGroup):
    """A group of commands that says an expected error in one line instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an expected error ends the program with its exit code."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            code = exit_code_of(error)
            if code is None:
                raise
            for line in lines_of(error):
                typer.echo(f"tidewire: {line}", err=True)
            raise typer.Exit(code) from error


app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Decide which content reaches whom, where and when, and measure what came of it.",
)
app.add_typer(services.app, name="services")
app.add_typer(migrate.app, name="migrate")
app.add_typer(topics.app, name="topics")
app.add_typer(run.app, name="run")
app.add_typer(dlq.app, name="dlq")
app.command("token")(token.token)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
