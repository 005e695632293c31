"""Engagement at volume: the SQL stands beside this file under the same name."""

from migrations.script import run_beside

revision = "0002_pre"
down_revision = "0001_pre"


def upgrade() -> None:
    """Apply the revision's SQL."""
    run_beside(__file__)
