"""Amazon SNS as tests need it: an authority of its own, messages that it signs, and fetches that are written down."""

import base64
import datetime as dt
import functools
import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import NameOID

from ingest_api.hooks.certificates import FetchError

TOPIC = "arn:aws:sns:eu-west-1:123456789012:engagement"
HOST = "https://sns.eu-west-1.amazonaws.com"
CERT_URL = f"{HOST}/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem"
SIGNED = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
TOKEN = "2336412f37fb687f5d51e6e2425a8a5"
YEAR = dt.timedelta(days=365)


@functools.cache
def rsa_key(name: str, bits: int = 2_048) -> rsa.RSAPrivateKey:
    """A key of one name, made once a session."""
    del name
    return rsa.generate_private_key(public_exponent=65_537, key_size=bits)


def certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    *,
    not_before: dt.datetime,
    not_after: dt.datetime,
    issuer: rsa.RSAPrivateKey | None = None,
    host: str = "sns.amazonaws.com",
) -> bytes:
    """A certificate of a key by an authority of the tests' own, in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of tests")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(authority if issuer is not None else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    signed = built.sign(issuer if issuer is not None else key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


class Amazon:
    """Signs with one key, and answers fetches with that key's certificate; `fetched` holds every address asked for."""

    def __init__(self, now: dt.datetime, *, name: str = "amazon") -> None:
        """Be valid for a year around now."""
        self.now = now
        self.key = rsa_key(name)
        self.pem = certificate(self.key, not_before=now - YEAR, not_after=now + YEAR, issuer=rsa_key("authority"))
        self.fetched: list[str] = []
        self.is_away = False

    async def fetch(self, url: str) -> bytes:
        """Answer any address with the certificate; raises FetchError while away."""
        self.fetched.append(url)
        if self.is_away:
            raise FetchError
        return self.pem

    def message(self, content: Any, **changes: Any) -> dict[str, Any]:
        """A signed notification; changes are made before it is signed, and None leaves a field out."""
        fields = {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Message": content if isinstance(content, str) else json.dumps(content),
            "Timestamp": self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "SignatureVersion": "2",
            "SigningCertURL": CERT_URL,
            "UnsubscribeURL": f"{HOST}/?Action=Unsubscribe&SubscriptionArn={TOPIC}:c9135db0-26c4",
        } | changes
        return self.signed({name: value for name, value in fields.items() if value is not None})

    def confirmation(self, **changes: Any) -> dict[str, Any]:
        """A signed request to confirm a subscription."""
        fields = {
            "Type": "SubscriptionConfirmation",
            "Token": TOKEN,
            "SubscribeURL": f"{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}",
        } | changes
        return self.message("You have chosen to subscribe to the topic.", **fields)

    def signed(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Sign fields as they are."""
        text = "".join(f"{name}\n{fields[name]}\n" for name in SIGNED if name in fields).encode()
        algorithm = hashes.SHA1() if fields.get("SignatureVersion") == "1" else hashes.SHA256()  # noqa: S303
        signature = self.key.sign(text, PKCS1v15(), algorithm)
        return {**fields, "Signature": base64.b64encode(signature).decode()}


def ses_event(name: str, part: dict[str, Any], **mail: Any) -> dict[str, Any]:
    """An event of SES for the delivery 77-3-41, which was sent to one reader."""
    return {
        "eventType": name,
        "mail": {
            "timestamp": "2026-02-02T09:00:00.000Z",
            "messageId": "0102018-example-000000",
            "destination": ["canary@example.com"],
            "tags": {"delivery": ["77-3-41"], "publication": ["12"], "arm": ["1"]},
        }
        | mail,
    } | part


def bounce(*addresses: str, kind: str = "Permanent", status: str = "5.1.1", **mail: Any) -> dict[str, Any]:
    """A bounce of some addresses."""
    people = [{"emailAddress": address, "status": status} for address in addresses or ("canary@example.com",)]
    part = {
        "bounceType": kind,
        "bounceSubType": "General",
        "bouncedRecipients": people,
        "timestamp": "2026-02-02T09:00:07.000Z",
    }
    return ses_event("Bounce", {"bounce": part}, **mail)


def complaint(*addresses: str, **mail: Any) -> dict[str, Any]:
    """A complaint of some addresses."""
    people = [{"emailAddress": address} for address in addresses or ("canary@example.com",)]
    part = {"complainedRecipients": people, "timestamp": "2026-02-02T10:00:00.000Z", "complaintFeedbackType": "abuse"}
    return ses_event("Complaint", {"complaint": part}, **mail)
