"""A whole installation for one demo: services, secrets of its own, a database and topics under a prefix."""

import base64
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jwt

from migrations.apply import upgrade
from publishing.local import services as local
from publishing.local.addresses import ServiceAddresses
from publishing.local.ports import choose_port
from publishing.runtime.clock import now_ms
from publishing.runtime.database import create_database, drop_database
from publishing.runtime.settings import PREFIX, Settings
from topics import apply as topics_apply

ISSUER = "tidewire-demo"
AUDIENCE = "tidewire"
TOKEN_LIFE_S = 86_400
SEED = 41


@dataclass(frozen=True, slots=True)
class Installation:
    """Where everything of one demo lives; `variables` is the whole environment of its processes."""

    folder: Path
    addresses: ServiceAddresses
    database_url: str
    topic_prefix: str
    shards: int
    api_url: str
    variables: Mapping[str, str]

    def token(self, role: str) -> str:
        """A token of the management API for this installation, good for a day."""
        now_s = now_ms() // 1000
        claims = {
            "sub": "demo",
            "role": role,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now_s,
            "exp": now_s + TOKEN_LIFE_S,
        }
        return jwt.encode(claims, self.variables["TIDEWIRE_JWT_SECRET"], algorithm="HS256")


def _key(kid: str) -> str:
    return f"{kid}:{base64.b64encode(secrets.token_bytes(32)).decode()}"


async def prepare(folder: Path, outside: Mapping[str, str]) -> Installation:
    """Start the services that the outside environment does not name, make a database and the topics.

    Raises LocalServicesError when a service cannot start.
    """
    shutil.rmtree(folder / "logs", ignore_errors=True)
    (folder / "logs").mkdir()
    addresses = local.resolve(outside, folder / "services")
    name = f"tidewire_demo_{secrets.token_hex(4)}"
    database_url = await create_database(addresses.database, name)
    await upgrade(database_url)
    port = choose_port("api", 0, now_ms())
    variables = {name: value for name, value in outside.items() if not name.startswith(PREFIX)} | {
        "TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS": addresses.kafka,
        "TIDEWIRE_DATABASE_URL": database_url,
        "TIDEWIRE_REDIS_URL": addresses.redis,
        "TIDEWIRE_TOPIC_PREFIX": f"{name.replace('_', '-')}.",
        "TIDEWIRE_AUDIENCE_SHARDS": "16",
        "TIDEWIRE_JWT_SECRET": secrets.token_urlsafe(48),
        "TIDEWIRE_JWT_ISSUER": ISSUER,
        "TIDEWIRE_JWT_AUDIENCE": AUDIENCE,
        "TIDEWIRE_TRACKING_KEYS": _key("demo"),
        "TIDEWIRE_SEAL_KEYS": _key("demo"),
        "TIDEWIRE_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TIDEWIRE_API_PORT": str(port),
    }
    installation = Installation(
        folder=folder,
        addresses=addresses,
        database_url=database_url,
        topic_prefix=variables["TIDEWIRE_TOPIC_PREFIX"],
        shards=16,
        api_url=f"http://127.0.0.1:{port}",
        variables=variables,
    )
    await topics_apply.apply(addresses.kafka, prefix=installation.topic_prefix, shards=installation.shards)
    return installation


async def dismantle(installation: Installation) -> None:
    """Stop the services that this demo started; on services of others drop the database, and leave the topics."""
    if (installation.folder / "services").exists():
        clear(installation.folder)
    else:
        await drop_database(installation.addresses.database, installation.database_url)


def clear(folder: Path) -> None:
    """Stop the services of a demo and delete their data."""
    services = folder / "services"
    if services.exists():
        local.stop(services)
        shutil.rmtree(services)


def settings_of(installation: Installation) -> Settings:
    """The installation's settings as its processes read them, for the demo's own pool and producer."""
    return Settings(
        kafka_bootstrap_servers=installation.addresses.kafka,
        database_url=installation.database_url,
        redis_url=installation.addresses.redis,
        topic_prefix=installation.topic_prefix,
        audience_shards=installation.shards,
    )
