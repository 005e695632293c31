"""Runs a revision's SQL file over the driver's own connection."""

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only


def run_beside(module_file: str) -> None:
    """Run the .sql file that stands beside a revision module, whole, in the migration's transaction."""
    sql = Path(module_file).with_suffix(".sql").read_text(encoding="utf-8")
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    await_only(driver.execute(sql))
