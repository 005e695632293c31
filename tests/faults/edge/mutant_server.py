"""The API without its edge, `python mutant_server.py <mutation>`: the negative controls."""

import sys

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ingest_api import edge, serve
from publishing.runtime.logs import configure_logs
from publishing.runtime.settings import load_settings

ENDLESS_BYTES = 1 << 40


def stock() -> None:
    """The protocol that uvicorn comes with: no deadline, no cap, lenient where its parser is."""


def uncapped() -> None:
    """The same, and bodies of any size are read."""
    for cap in ("MAX_JSON_BYTES", "MAX_LINES_BYTES"):
        assert hasattr(edge, cap)
        setattr(edge, cap, ENDLESS_BYTES)


MUTATIONS = {mutation.__name__: mutation for mutation in (stock, uncapped)}

if __name__ == "__main__":
    MUTATIONS[sys.argv[1]]()
    settings = load_settings(*serve.REQUIRED)
    configure_logs(settings, "api")
    config = serve.configured(settings, HttpToolsProtocol)
    listener = config.bind_socket()
    serve.log.info("api.listening", port=listener.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listener])
