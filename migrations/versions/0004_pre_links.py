"""Clicks by link: the SQL stands beside this file under the same name."""

from migrations.script import run_beside

revision = "0004_pre"
down_revision = "0003_pre"


def upgrade() -> None:
    """Apply the revision's SQL."""
    run_beside(__file__)
