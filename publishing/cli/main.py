"""Owns the command `tidewire`: which module each command is in, and how errors become a line and an exit code."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup

from publishing.cli.failures import exit_code_of, lines_of

INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""

COMMANDS: Final = ("demo", "services", "migrate", "topics", "run", "token", "dlq", "conservation", "replay", "verdicts")
"""Each is the module of that name here: its `app`, else its function of the same name."""


class Tidewire(TyperGroup):
    """The commands, each imported when it is asked for; an expected error is one line instead of a traceback."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  - the framework's signature
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  - the framework's signature
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"publishing.cli.{cmd_name}")
        command_app = getattr(module, "app", None)
        if command_app is None:
            command_app = typer.Typer(add_completion=False)
            command_app.command(cmd_name)(getattr(module, cmd_name))
        command = typer.main.get_command(command_app)
        command.name = cmd_name
        return command

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


app = typer.Typer(cls=Tidewire, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def tidewire() -> None:
    """Decide which content reaches whom, where and when, and measure what came of it."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
