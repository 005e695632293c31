"""The snapshot schema.sql: what all migrations make, as pg_dump shows it.

Made by `python -m migrations.snapshot PG_DUMP DATABASE_URL > migrations/schema.sql` from a migrated database.
"""

import re
import subprocess
import sys
from pathlib import Path

SNAPSHOT = Path(__file__).with_name("schema.sql")
# Lines that say who dumped and when, not what the schema is.
NOISE = re.compile(r"^(--.*|\\(un)?restrict .*|SET .*|SELECT pg_catalog\.set_config.*)$", re.MULTILINE)


def dump(pg_dump: Path, database_url: str) -> str:
    """The schema of a database without owners, rights, comments of the tool and Alembic's own table."""
    command = [
        str(pg_dump),
        "--schema-only",
        "--no-owner",
        "--no-privileges",
        "--exclude-table=alembic_version",
        database_url,
    ]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own words
    return re.sub(r"\n{3,}", "\n\n", NOISE.sub("", printed)).strip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(dump(Path(sys.argv[1]), sys.argv[2]))
