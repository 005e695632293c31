"""E-mail by Amazon SES v2: raw MIME with one-click unsubscribe, tagged with the delivery's key."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parseaddr
from http import HTTPStatus
from typing import Any

import aioboto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from publishing.domain.truncation import one_line, shorten
from publishing.runtime.settings import Settings
from sinks.contract import (
    TIMEOUT_S,
    Accepted,
    Ambiguous,
    ConfigError,
    Letter,
    Limits,
    Outcome,
    Refused,
    RenderError,
    Retry,
    Validation,
    refuse_unknown,
    require_text,
)
from sinks.mail_headers import HeaderError, encode_text, mailbox
from sinks.mail_message import assemble, subject_of
from sinks.posting import NOT_SENT

# https://docs.aws.amazon.com/ses/latest/dg/quotas.html (40 MB a message by the v2 API)
MAX_MESSAGE_BYTES = 40_000_000
MAX_CONNECTIONS = 50
_THROTTLES = frozenset({"TooManyRequestsException", "Throttling", "ThrottlingException", "LimitExceededException"})
# RFC 5321 section 4.5.3.1: 64 octets before the at sign, 255 after it; a dot-atom, which needs no quoting anywhere.
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
_TAG = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class EmailConfig:
    """Who writes, and the configuration set whose events come back."""

    display: str
    address: str
    configuration_set: str | None

    @property
    def domain(self) -> str:
        """The sender's domain."""
        return self.address.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class EmailMessage:
    """One raw message to one address."""

    tags: Mapping[str, str]
    sender: str
    address: str = field(repr=False)
    raw: bytes = field(repr=False)


def tags_of(letter: Letter) -> dict[str, str]:
    """What comes back with every event of the message: whose delivery it was, without a look at the database."""
    return {"delivery": letter.key, "publication": str(letter.publication_id), "arm": str(letter.arm)}


def _ascii_address(address: str | None) -> str:
    """The address with its domain in ASCII; raises RenderError for one that SES does not take."""
    local, at, domain = (address or "").strip().rpartition("@")
    try:
        found = local + at + domain.encode("idna").decode()
    except UnicodeError:
        raise RenderError("address") from None
    if not _ADDRESS.fullmatch(found):
        raise RenderError("address")
    return found


class Email:
    """Sends to one subscriber a message."""

    name = "email"
    limits = Limits(
        # An account's own rate is set by Amazon: state it in the channel's limits. Throttles slow us down in any case.
        per_second=200.0,
        burst=50,
        max_size=MAX_MESSAGE_BYTES,
        unit="bytes",
        source="https://docs.aws.amazon.com/ses/latest/dg/quotas.html",
    )

    def parse_config(self, config: Mapping[str, Any]) -> EmailConfig:
        """Read {"sender": "News <news@example.org>", "configuration_set": null}; raises ConfigError."""
        refuse_unknown(config, ("sender", "configuration_set"))
        display, address = parseaddr(require_text(config, "sender", max_chars=320))
        if not _ADDRESS.fullmatch(address):
            raise ConfigError("sender", "must be an address, or a name and an address in angle brackets")
        try:
            encode_text("From", display)
        except HeaderError:
            raise ConfigError("sender", "holds control characters") from None
        configuration_set = config.get("configuration_set")
        if configuration_set is not None and not (
            isinstance(configuration_set, str) and _TAG.fullmatch(configuration_set)
        ):
            raise ConfigError("configuration_set", "must be 1 to 64 letters, digits, underscores or dashes")
        return EmailConfig(display, address, configuration_set)

    async def validate(self, config: EmailConfig) -> Validation:
        """Whether SES knows the identity is known at the first message."""
        del config
        return Validation("untested", "the sender is tried by a test message only")

    def render(self, letter: Letter, config: EmailConfig) -> EmailMessage:
        """Render the raw message; raises RenderError("address") or RenderError("header")."""
        address = _ascii_address(letter.address)
        try:
            raw = assemble(_headers(letter, config, address), letter)
        except HeaderError as error:
            raise RenderError("header") from error
        return EmailMessage(tags_of(letter), mailbox("From", config.display, config.address), address, raw)

    def size(self, message: EmailMessage) -> int:
        """The bytes of the raw message."""
        return len(message.raw)

    @asynccontextmanager
    async def open(self, settings: Settings) -> AsyncIterator[Any]:
        """A client of SES v2 that never tries again by itself: a second try could be a second mail."""
        session = aioboto3.Session(region_name=settings.ses_region)
        credentials: dict[str, str] = {}
        if settings.ses_endpoint_url and await _has_no_credentials(session):
            credentials = {"aws_access_key_id": "unused", "aws_secret_access_key": "unused"}
        options = Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=5,
            read_timeout=TIMEOUT_S,
            max_pool_connections=MAX_CONNECTIONS,
            proxies={},
        )
        async with session.client(
            "sesv2", endpoint_url=settings.ses_endpoint_url, config=options, **credentials
        ) as client:
            yield client

    async def deliver(self, connection: Any, config: EmailConfig, message: EmailMessage) -> Outcome:
        """Send one raw message, tagged with the delivery's key."""
        options = {"ConfigurationSetName": config.configuration_set} if config.configuration_set else {}
        try:
            answer = await connection.send_email(
                FromEmailAddress=message.sender,
                Destination={"ToAddresses": [message.address]},
                Content={"Raw": {"Data": message.raw}},
                EmailTags=[{"Name": name, "Value": value} for name, value in message.tags.items()],
                **options,
            )
        except (BotoCoreError, ClientError, OSError) as error:
            return _outcome_of(error)
        return Accepted(answer.get("MessageId"))


async def _has_no_credentials(session: Any) -> bool:
    return await session.get_credentials() is None


def _outcome_of(error: Exception) -> Outcome:
    """What a failed call means; one that is not known to have failed before the message left is Ambiguous."""
    if isinstance(error, ClientError):
        return _refusal(error)
    # EndpointConnectionError is raised for a connection that was reset, too: only its cause says whether there was one.
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError) and isinstance(error.__context__, NOT_SENT):
        return Retry("not_connected")
    known: tuple[tuple[tuple[type[Exception], ...], Outcome], ...] = (
        ((NoCredentialsError,), Retry("no_credentials")),
        ((ParamValidationError,), Refused("parameters")),
        ((ReadTimeoutError, TimeoutError), Ambiguous("timeout")),
    )
    return next((outcome for kinds, outcome in known if isinstance(error, kinds)), Ambiguous("connection_lost"))


def _refusal(error: ClientError) -> Outcome:
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _THROTTLES or status == HTTPStatus.TOO_MANY_REQUESTS:
        return Retry("throttled", is_throttle=True)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or code in {"SendingPausedException", "AccountSuspendedException"}:
        return Retry(code)
    return Refused(code)


def _headers(letter: Letter, config: EmailConfig, address: str) -> dict[str, str]:
    """Every header but the date and those of MIME; raises HeaderError."""
    name = encode_text("List-Id", shorten(one_line(letter.publication).replace('"', "'"), 40))
    headers = {
        "From": mailbox("From", config.display, config.address),
        "To": address,
        "Subject": encode_text("Subject", subject_of(letter)),
        "Message-ID": f"<dlv.{letter.key}@{config.domain}>",
        # RFC 2919, at most 255 characters.
        "List-Id": f"{name} <publication-{letter.publication_id}.{config.domain}>",
        "Feedback-ID": f"{letter.publication_id}:{letter.run_id}:{letter.channel_id}:tidewire",
        "Auto-Submitted": "auto-generated",
        "X-Tidewire-Delivery": letter.key,
    }
    if letter.unsubscribe_url:
        # RFC 8058: one click, by POST.
        headers["List-Unsubscribe"] = f"<{letter.unsubscribe_url}>"
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers


CHANNEL = Email()
