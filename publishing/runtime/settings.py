"""The settings of every process, read from TIDEWIRE_* variables and nowhere else."""

import ipaddress
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from publishing.domain.keys import KeyRing, KeyRingError, parse_key_ring

PREFIX = "TIDEWIRE_"
# RFC 7518, section 3.2: a key of HS256 has at least 256 bits.
MIN_SECRET_BYTES = 32


class SettingsError(Exception):
    """A setting is missing or wrong: set the named variable and start again."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {problem}" for name, problem in problems.items()))
        self.problems = dict(problems)


def _ring(value: object) -> object:
    return parse_key_ring(value) if isinstance(value, str) else value


def _networks(value: str) -> str:
    for part in filter(None, value.split(",")):
        ipaddress.ip_network(part.strip())
    return value


Ring = Annotated[KeyRing, BeforeValidator(_ring)]
Proxies = Annotated[str, AfterValidator(_networks)]


class Settings(BaseSettings):
    """Every variable with its default; docs/generated/settings.md is made from this class."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", arbitrary_types_allowed=True, frozen=True
    )

    kafka_bootstrap_servers: str | None = Field(
        None, pattern=r"^[^,:\s]+:\d+(,[^,:\s]+:\d+)*$", description="Kafka brokers, host:port,..."
    )
    database_url: str | None = Field(
        None, pattern=r"^postgres(ql)?://", repr=False, description="PostgreSQL 15+, postgresql://user@host:port/name"
    )
    redis_url: str | None = Field(None, pattern=r"^rediss?://", repr=False, description="Redis 7+ or Valkey")
    audience_shards: int = Field(
        16, ge=1, le=1024, description="Parts of the audience (P); fixed once the installation holds a subscriber"
    )
    topic_prefix: str = Field(
        "", pattern=r"^[a-z0-9._-]{0,40}$", description="Put before every topic and consumer group, to share a broker"
    )
    instance: str = Field(
        "0", pattern=r"^[A-Za-z0-9._-]{1,60}$", description="Name of this replica (static membership)"
    )
    jwt_secret: SecretStr | None = Field(None, description="HS256 secret of the service that owns the tokens")
    jwt_jwks_url: str | None = Field(
        None, pattern=r"^https?://", description="Key set of the service that owns the tokens"
    )
    jwt_issuer: str | None = Field(None, min_length=1, description="The `iss` that tokens must carry")
    jwt_audience: str = Field("tidewire", min_length=1, description="The `aud` that tokens must carry")
    tracking_keys: Ring | None = Field(None, repr=False, description="kid:base64,...; the first signs links")
    seal_keys: Ring | None = Field(None, repr=False, description="kid:base64,...; the first seals addresses")
    public_url: str = Field(
        "http://127.0.0.1:8080", pattern=r"^https?://[^/\s]+(/[^\s]*[^/\s])?$", description="Where readers reach us"
    )
    tracking_policy: Literal["off", "anonymous", "pseudonymous", "identified"] = Field(
        "identified", description="What links keep of a reader: no links, no reader, not learned from, or all"
    )
    networks_file: Path | None = Field(None, description="Networks of your own for verdicts, `<cidr> <class>` a line")
    ai_url: str | None = Field(
        None, pattern=r"^https?://", description="HTTP quality scorer; none: the local heuristic"
    )
    ses_endpoint_url: str | None = Field(None, pattern=r"^https?://", description="SES v2 endpoint; none: Amazon's")
    ses_mode: Literal["raw", "bulk"] = Field("raw", description="SendEmail with raw MIME, or SendBulkEmail")
    ses_region: str = Field("eu-west-1", pattern=r"^[a-z0-9-]+$", description="AWS region of SES")
    sns_topic_arns: str = Field(
        "",
        pattern=r"^(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}(,|$))*$",
        description="SNS topics that may call /hooks/ses, their ARNs with commas; empty: none",
    )
    sns_signature_v1: bool = Field(
        False, description="Whether SNS messages signed by version 1 (SHA-1) are taken as well as version 2"
    )
    slack_signing_secrets: SecretStr | None = Field(
        None,
        description="Slack's signing secrets with commas, the old one too while they are changed; none: no callback",
    )
    spool_dir: Path | None = Field(
        None, description="Folder of the collector's spool, on a disk that survives the process; none: no spool"
    )
    spool_max_bytes: int = Field(
        268_435_456, ge=65_536, description="Size limit of the spool, bytes; at it hits are refused"
    )
    lease_s: float = Field(60.0, ge=1, le=3600, description="How long a claimed delivery belongs to its sink, seconds")
    log_format: Literal["json", "console"] = Field("json", description="How log lines look")
    api_host: str = Field("127.0.0.1", description="Address that the HTTP API listens on")
    api_port: int = Field(8080, ge=0, le=65_535, description="Port of the HTTP API; 0 takes a free one")
    header_wait_s: float = Field(
        10.0, ge=0.5, le=600, description="A request's head must be complete by then, from its first byte, seconds"
    )
    body_wait_s: float = Field(
        30.0, ge=0.5, le=3600, description="A request's body must be complete by then, from its head, seconds"
    )
    write_wait_s: float = Field(
        30.0, ge=0.5, le=3600, description="A client that takes nothing of its answer is left after this, seconds"
    )
    keep_alive_s: float = Field(
        75.0, ge=0.5, le=3600, description="A connection without a request is closed after this, seconds"
    )
    max_header_bytes: int = Field(
        16_384, ge=1024, le=262_144, description="Largest head of a request: its line and all headers, bytes"
    )
    max_connections: int = Field(
        16_384, ge=1, description="Connections at a time; fewer when the process may open fewer files"
    )
    max_connections_per_address: int = Field(
        256, ge=1, description="Connections at a time of one client: an IPv4 address or an IPv6 /64"
    )
    trusted_proxies: Proxies = Field(
        "", description="Networks (CIDR,...) of the proxies that are believed about their clients; none: nobody is"
    )
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = Field(
        "x-forwarded-for", description="The header that the trusted proxies write; the other one is not read"
    )
    health_host: str = Field("127.0.0.1", description="Address that stream and sink processes answer health on")
    health_port: int = Field(
        8081, ge=0, le=65_535, description="Health port of stream and sink processes; 0 takes a free one"
    )
    schema_registry_url: str | None = Field(None, pattern=r"^https?://", description="Confluent-compatible registry")
    failpoints: str = Field("", description="Fault injection for tests: name:nth:action, action KILL, STOP or RAISE")

    @property
    def kafka(self) -> str:
        """The brokers; load_settings has made sure that they are set."""
        assert self.kafka_bootstrap_servers is not None
        return self.kafka_bootstrap_servers

    @property
    def database(self) -> str:
        """The database's address; load_settings has made sure that it is set."""
        assert self.database_url is not None
        return self.database_url

    @property
    def redis(self) -> str:
        """The cache's address; load_settings has made sure that it is set."""
        assert self.redis_url is not None
        return self.redis_url

    @property
    def tracking(self) -> KeyRing:
        """The keys of links; load_settings has made sure that they are set."""
        assert self.tracking_keys is not None
        return self.tracking_keys

    @property
    def sealing(self) -> KeyRing:
        """The keys that seal addresses; load_settings has made sure that they are set."""
        assert self.seal_keys is not None
        return self.seal_keys


def _problem_of(error: Mapping[str, object]) -> str:
    cause = error.get("ctx")
    if isinstance(cause, dict) and isinstance(cause.get("error"), KeyRingError):
        return str(cause["error"])
    return str(error["msg"])


def load_settings(*required: str) -> Settings:
    """Read the environment; the fields named must be set.

    Raises SettingsError, which names each variable and what is wrong with it, never its value.
    """
    try:
        settings = Settings()
    except ValidationError as invalid:
        problems = {PREFIX + str(e["loc"][0]).upper(): _problem_of(e) for e in invalid.errors(include_input=False)}
        raise SettingsError(problems) from None
    missing = {PREFIX + name.upper(): "is not set" for name in required if getattr(settings, name) is None}
    if "jwt_issuer" in required:
        missing |= _token_problems(settings)
    if missing:
        raise SettingsError(missing)
    return settings


def _token_problems(settings: Settings) -> dict[str, str]:
    if settings.jwt_secret is None and settings.jwt_jwks_url is None:
        return {"TIDEWIRE_JWT_SECRET": "is not set, nor is TIDEWIRE_JWT_JWKS_URL"}
    if settings.jwt_secret and len(settings.jwt_secret.get_secret_value().encode()) < MIN_SECRET_BYTES:
        return {"TIDEWIRE_JWT_SECRET": f"is shorter than {MIN_SECRET_BYTES} bytes"}
    return {}


def exit_on_settings_error(error: SettingsError) -> NoReturn:
    """Name what is wrong on standard error, one line a variable, and exit with 2."""
    for name, problem in error.problems.items():
        sys.stderr.write(f"tidewire: {name} {problem}\n")
    raise SystemExit(2)


def environment() -> dict[str, str]:
    """A copy of the process's environment, for child processes."""
    return dict(os.environ)
