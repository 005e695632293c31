"""Owns whether a notification is Amazon SNS's own: its form, its topic, its signature; checked before any fetch."""

import base64
import binascii
import datetime as dt
import re
from collections.abc import Collection
from typing import Annotated, Final
from urllib.parse import parse_qsl

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from msgspec import Meta

from ingest_api.hooks.certificates import CachedKeys, CertificateError, FetchError
from ingest_api.hooks.refusals import malformed, refused
from ingest_api.problems import unavailable

PROVIDER: Final = "ses"
NOTIFICATION: Final = "Notification"
CONFIRMATION: Final = "SubscriptionConfirmation"
ENDED: Final = "UnsubscribeConfirmation"
# SNS gives up after at most an hour of retries (DeliveryPolicy, totalRetryDelay <= 3,600 s); the second hour is for
# clocks. A repeat within it has the same event id, which is counted once in seven days.
# https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
MAX_AGE: Final = dt.timedelta(hours=2)
MAX_AHEAD: Final = dt.timedelta(minutes=15)

# https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html. A region is spelt as regions are:
# `sns.s3-us-west-2.amazonaws.com` is a bucket of anybody's who was first to call it `sns`.
_REGION = r"[a-z]{2}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}"
_HOST = rf"https://sns\.{_REGION}\.amazonaws\.com(?:\.cn)?"
_CERTIFICATE_URL = re.compile(rf"{_HOST}/SimpleNotificationService-[A-Za-z0-9]+\.pem", re.ASCII)
_SUBSCRIBE_URL = re.compile(rf"{_HOST}/\?([A-Za-z0-9=&%:._~-]{{1,2000}})", re.ASCII)
_SIGNED: Final = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")

# Only a message may hold line feeds: else one signed text could be cut into other fields (`key\nvalue\n`).
_Line = Annotated[str, Meta(min_length=1, max_length=4_096, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class SnsMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of SNS as it is posted; what it does not name is passed over and is not signed either."""

    type: _Line = msgspec.field(name="Type")
    message_id: _Line = msgspec.field(name="MessageId")
    topic_arn: _Line = msgspec.field(name="TopicArn")
    message: str = msgspec.field(name="Message")
    timestamp: _Line = msgspec.field(name="Timestamp")
    signature_version: _Line = msgspec.field(name="SignatureVersion")
    signature: _Line = msgspec.field(name="Signature")
    signing_cert_url: _Line = msgspec.field(name="SigningCertURL")
    subject: _Line | None = msgspec.field(name="Subject", default=None)
    subscribe_url: _Line | None = msgspec.field(name="SubscribeURL", default=None)
    token: _Line | None = msgspec.field(name="Token", default=None)


_FIELDS: Final = {
    encoded: name
    for name, encoded in zip(SnsMessage.__struct_fields__, SnsMessage.__struct_encode_fields__, strict=True)
}
_PLACE = re.compile(r"`(?:\$\.)?([A-Z][A-Za-z]{1,30})`")


def parse_message(body: bytes) -> SnsMessage:
    """Read a message of SNS; raises a 400 problem that names the field."""
    try:
        message = msgspec.json.decode(body, type=SnsMessage)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        raise malformed(PROVIDER, place[1] if place and place[1] in _FIELDS else "") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise malformed(PROVIDER, "") from None
    if message.type not in {NOTIFICATION, CONFIRMATION, ENDED}:
        raise malformed(PROVIDER, "Type")
    if message.type != NOTIFICATION and (message.subscribe_url is None or message.token is None):
        raise malformed(PROVIDER, "SubscribeURL" if message.subscribe_url is None else "Token")
    return message


def signed_text(message: SnsMessage) -> bytes:
    """The text that is signed: each key that is present, in byte order, with its value, a line each."""
    values = ((key, getattr(message, _FIELDS[key])) for key in _SIGNED)
    return "".join(f"{key}\n{value}\n" for key, value in values if value is not None).encode()


def is_certificate_url(url: str) -> bool:
    """Whether an address is one at which SNS keeps its certificates, from its first character to its last."""
    return _CERTIFICATE_URL.fullmatch(url) is not None


def confirms(message: SnsMessage) -> bool:
    """Whether a subscription's address is SNS's own, and confirms this topic and nothing else."""
    found = _SUBSCRIBE_URL.fullmatch(message.subscribe_url or "")
    if found is None:
        return False
    asked = sorted(parse_qsl(found[1], keep_blank_values=True))
    wanted = {"Action": "ConfirmSubscription", "Token": message.token, "TopicArn": message.topic_arn}
    return asked == sorted(wanted.items())


class SnsVerifier:
    """Says whether messages come from SNS, for the topics given."""

    def __init__(self, keys: CachedKeys, topic_arns: Collection[str], *, takes_v1: bool = False) -> None:
        """Trust no topic that is not named; version 1 of the signature (SHA-1) only when told to."""
        self._keys = keys
        self._topic_arns = frozenset(topic_arns)
        self._hashes: dict[str, hashes.HashAlgorithm] = {"2": hashes.SHA256()}
        if takes_v1:
            self._hashes["1"] = hashes.SHA1()  # noqa: S303  - what version 1 is, for topics that cannot be changed

    async def verify(self, message: SnsMessage, now: dt.datetime) -> None:
        """Return when the message is SNS's own; raises a 403 problem, or 503 while its certificate is not to be had."""
        if message.topic_arn not in self._topic_arns:
            raise refused(PROVIDER, "foreign_topic")
        algorithm = self._hashes.get(message.signature_version)
        if algorithm is None:
            raise refused(PROVIDER, "signature_version")
        if not is_certificate_url(message.signing_cert_url):
            raise refused(PROVIDER, "certificate_url")
        if not -MAX_AGE <= _sent_at(message) - now <= MAX_AHEAD:
            raise refused(PROVIDER, "timestamp")
        signature = _signature(message)
        try:
            key = await self._keys.key(message.signing_cert_url, now)
            key.verify(signature, signed_text(message), PKCS1v15(), algorithm)
        except FetchError as error:
            raise unavailable("provider") from error
        except CertificateError as error:
            raise refused(PROVIDER, "certificate") from error
        except InvalidSignature as error:
            raise refused(PROVIDER, "signature") from error


def _sent_at(message: SnsMessage) -> dt.datetime:
    try:
        at = dt.datetime.fromisoformat(message.timestamp)
    except ValueError:
        raise malformed(PROVIDER, "Timestamp") from None
    return at if at.tzinfo else at.replace(tzinfo=dt.UTC)


def _signature(message: SnsMessage) -> bytes:
    try:
        return base64.b64decode(message.signature, validate=True)
    except binascii.Error:
        raise malformed(PROVIDER, "Signature") from None
