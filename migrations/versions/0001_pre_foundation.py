"""The foundation: the SQL stands beside this file under the same name."""

from migrations.script import run_beside

revision = "0001_pre"
down_revision = None


def upgrade() -> None:
    """Apply the revision's SQL."""
    run_beside(__file__)
