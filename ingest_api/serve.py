"""Owns the process of the API: uvicorn around the application until SIGTERM."""

import uvicorn

from ingest_api.app import create_app
from publishing.runtime.logs import configure_logs, get_logger
from publishing.runtime.settings import SettingsError, exit_on_settings_error, load_settings

REQUIRED = ("kafka_bootstrap_servers", "database_url", "redis_url", "tracking_keys", "seal_keys", "jwt_issuer")
# Requests at work are finished; a supervisor kills after 10 s.
SHUTDOWN_WAIT_S = 8
KEEP_ALIVE_S = 75

log = get_logger(__name__)


def main() -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests at work; exits with 2 when a setting is missing."""
    try:
        settings = load_settings(*REQUIRED)
    except SettingsError as error:
        exit_on_settings_error(error)
    configure_logs(settings, "api")
    config = uvicorn.Config(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_WAIT_S,
    )
    listener = config.bind_socket()
    log.info("api.listening", port=listener.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
