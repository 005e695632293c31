"""The API without its limits on the database's answers: the negative control of R7."""

from ingest_api import edge, serve
from publishing.runtime import database

PATIENCE_S = 3_600.0

if __name__ == "__main__":
    edge.READ_WAIT_S = PATIENCE_S
    database.COMMAND_TIMEOUT_S = database.CONNECT_TIMEOUT_S = PATIENCE_S
    serve.main()
