"""Amazon SES v2 as its API reference describes it: SendEmail, SendBulkEmail and GetAccount."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perf.providers.exchange import Answer, Refusal, Request, parse_json
from perf.providers.journal import Journal
from perf.providers.pacing import Pacer
from perf.providers.script import Behaviour
from perf.providers.ses_checks import (
    address_of,
    check_authorization,
    check_bulk,
    check_email,
    check_entry,
    check_raw,
    check_subject,
    decode_raw,
    recipients,
)
from perf.providers.ses_mail import (
    MissingVariableError,
    entry_variables,
    header_facts,
    header_tags,
    placeholders,
    render,
    require_variables,
    substitute,
)
from perf.providers.ses_shapes import SendBulkEmail, SendEmail, check_shape
from perf.providers.simulator import Submission

# Every operation's path: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Operations.html
SEND_EMAIL = "/v2/email/outbound-emails"
SEND_BULK_EMAIL = "/v2/email/outbound-bulk-emails"
GET_ACCOUNT = "/v2/email/account"
UNLIMITED = 1_000_000.0
_BULK_STATUS = {"BadRequestException": "INVALID_PARAMETER", "MessageRejected": "MESSAGE_REJECTED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message to accept, or the status that its bulk entry gets instead."""

    to: list[str]
    subject: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    refused_as: str | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One checked call: its messages in the order of its entries, and the body they are rendered from."""

    mails: list[Mail]
    body: bytes
    sender: str
    configuration_set: str | None
    is_bulk: bool


@dataclass(slots=True, kw_only=True)
class Ses:
    """The account: `max_send_rate` recipients a second (0 = unlimited), `max_24_hour_send` in all (0 = unlimited).

    Source: https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas.html (both count recipients).
    """

    journal: Journal = field(default_factory=Journal)
    max_send_rate: float = 0.0
    max_24_hour_send: float = 0.0
    sent: int = 0
    name: str = "ses"
    max_body_bytes: int = 60 * 1024 * 1024
    fact_names: frozenset[str] = frozenset({"to", "subject", "tags"})
    _pacer: Pacer = field(init=False)
    _granted: int = 0

    def __post_init__(self) -> None:
        self._pacer = Pacer(self.max_send_rate, burst=max(self.max_send_rate, 1.0))

    def read(self, request: Request, *, now_ms: int) -> Submission | Answer:
        """Check a call as SES does."""
        del now_ms
        refusal = check_authorization(request.headers.get("authorization"), request.headers.get("x-amz-date"))
        if refusal is not None:
            return _refuse(refusal)
        route = (request.method, request.path)
        if route == ("GET", GET_ACCOUNT):
            return self._account()
        if route not in (("POST", SEND_EMAIL), ("POST", SEND_BULK_EMAIL)):
            return _refuse(Refusal(status=404, error="NotFoundException", message="This operation is not simulated"))
        try:
            payload = parse_json(request.body)
        except ValueError:
            return _refuse(Refusal(error="SerializationException", message="The body is not JSON"))
        is_bulk = request.path == SEND_BULK_EMAIL
        mails = _read_bulk(payload, len(request.body)) if is_bulk else _read_email(payload)
        if isinstance(mails, Refusal):
            return _refuse(mails)
        call = Call(
            mails=mails,
            body=request.body,
            sender=payload.get("FromEmailAddress") or "",
            configuration_set=payload.get("ConfigurationSetName"),
            is_bulk=is_bulk,
        )
        return Submission(facts=_facts(call), content=call)

    def admit(self, submission: Submission, *, now_s: float) -> Answer | None:
        """Throttle by the send rate and the daily quota; a bulk call may be granted in part."""
        wanted = sum(len(mail.to) for mail in submission.content.mails if mail.refused_as is None)
        if self.max_24_hour_send and self.sent >= self.max_24_hour_send:
            return _refuse(
                Refusal(status=429, error="TooManyRequestsException", message="Daily message quota exceeded.")
            )
        self._granted = self._pacer.take("account", wanted, now_s=now_s)
        if wanted and not self._granted:
            return self.throttle(seconds=0)
        return None

    def accept(self, submission: Submission, *, now_ms: int, behaviour: Behaviour | None) -> Answer:
        """Log each granted message and answer its id, or for bulk each entry's status."""
        call: Call = submission.content
        place = self.journal.keep(call.body)
        results: list[dict[str, str]] = []
        for index, mail in enumerate(call.mails):
            refused_as, error = self._verdict(mail, behaviour)
            if refused_as is not None:
                results.append({"Status": refused_as, "Error": error})
                continue
            message_id = f"0100{now_ms:012x}-{uuid.uuid4()}-000000"
            fields = {
                "to": mail.to,
                "subject": mail.subject,
                "tags": mail.tags,
                "from": call.sender,
                "configuration_set": call.configuration_set,
                "is_bulk": call.is_bulk,
            }
            self.journal.append(fields, now_ms=now_ms, message_id=message_id)
            self.journal.locate(message_id, place, entry=index)
            results.append({"Status": "SUCCESS", "MessageId": message_id})
        if call.is_bulk:
            return _answer(200, {"BulkEmailEntryResults": results})
        return _answer(200, {"MessageId": results[0]["MessageId"]})

    def throttle(self, *, seconds: float) -> Answer:
        """Return SES's throttle answer, which has no Retry-After."""
        del seconds
        return _refuse(Refusal(status=429, error="TooManyRequestsException", message="Maximum sending rate exceeded."))

    def control(self, request: Request) -> Answer | None:
        """Answer `GET /_message/{id}` with raw MIME and `PUT /_account` with the account's new limits."""
        if request.method == "GET" and request.path.startswith("/_message/"):
            return self._message(request.path.removeprefix("/_message/"))
        if (request.method, request.path) == ("PUT", "/_account"):
            return self._set_account(request)
        return None

    def _verdict(self, mail: Mail, behaviour: Behaviour | None) -> tuple[str | None, str]:
        """Return the status that refuses this entry and its error, or None and nothing; counts what is granted."""
        if mail.refused_as is not None:
            return mail.refused_as, mail.error
        if behaviour is not None and behaviour.entry_status is not None:
            wanted = behaviour.match.get("to", "")
            if any(wanted in to for to in mail.to):
                return behaviour.entry_status, "scripted"
        if self.max_24_hour_send and self.sent + len(mail.to) > self.max_24_hour_send:
            return "ACCOUNT_DAILY_QUOTA_EXCEEDED", "Daily message quota exceeded."
        if self._pacer.is_limiting and self._granted <= 0:
            return "ACCOUNT_THROTTLED", "Maximum sending rate exceeded."
        self._granted -= len(mail.to)
        self.sent += len(mail.to)
        return None, ""

    def _account(self) -> Answer:
        quota = {
            "Max24HourSend": self.max_24_hour_send or UNLIMITED,
            "MaxSendRate": self.max_send_rate or UNLIMITED,
            "SentLast24Hours": float(self.sent),
        }
        return _answer(
            200,
            {
                "DedicatedIpAutoWarmupEnabled": False,
                "EnforcementStatus": "HEALTHY",
                "ProductionAccessEnabled": True,
                "SendQuota": quota,
                "SendingEnabled": True,
            },
        )

    def _message(self, message_id: str) -> Answer:
        found = self.journal.find(message_id)
        if found is None:
            return Answer.json(404, {"error": "no such message"})
        body, entry = found
        if body is None:
            return Answer.json(410, {"error": "the raw message gave way to newer ones; raise --raw-max-bytes"})
        return Answer(
            status=200, body=render(parse_json(body), entry, message_id), headers=(("content-type", "message/rfc822"),)
        )

    def _set_account(self, request: Request) -> Answer:
        names = {"max_send_rate", "max_24_hour_send"}
        try:
            limits = parse_json(request.body)
        except ValueError:
            limits = None
        if not isinstance(limits, dict) or set(limits) - names or any(_is_no_limit(v) for v in limits.values()):
            return Answer.json(422, {"error": f"an object of {sorted(names)}, numbers from 0 (0 = unlimited)"})
        self.max_send_rate = float(limits.get("max_send_rate", self.max_send_rate))
        self.max_24_hour_send = float(limits.get("max_24_hour_send", self.max_24_hour_send))
        self._pacer = Pacer(self.max_send_rate, burst=max(self.max_send_rate, 1.0))
        return Answer.json(200, {"max_send_rate": self.max_send_rate, "max_24_hour_send": self.max_24_hour_send})


def _is_no_limit(value: Any) -> bool:
    return isinstance(value, bool) or not isinstance(value, int | float) or value < 0


def _read_email(payload: Any) -> list[Mail] | Refusal:
    refusal = check_shape(payload, SendEmail) or check_email(payload)
    if refusal is not None:
        return refusal
    to = [address_of(entry) for entry in recipients(payload.get("Destination"))]
    tags = _tags(payload.get("EmailTags"))
    if payload["Content"].get("Raw") is None:
        return [Mail(to=to, subject=payload["Content"]["Simple"]["Subject"]["Data"], tags=tags)]
    raw = decode_raw(payload)
    if isinstance(raw, Refusal):
        return raw
    return check_raw(raw) or _read_raw(payload, raw, to, tags)


def _read_raw(payload: Mapping[str, Any], raw: bytes, to: list[str], tags: dict[str, str]) -> list[Mail] | Refusal:
    headers = header_facts(raw)
    to = to or [address_of(entry.strip()) for entry in headers.get("to", "").split(",") if "@" in entry]
    if not to:
        return Refusal(error="BadRequestException", field="Destination", message="There is no recipient")
    if not payload.get("FromEmailAddress") and "@" not in headers.get("from", ""):
        return Refusal(error="BadRequestException", field="FromEmailAddress", message="The sender is missing")
    tags = tags or header_tags(headers.get("x-ses-message-tags", ""))
    return [Mail(to=to, subject=headers.get("subject", ""), tags=tags)]


def _read_bulk(payload: Any, body_bytes: int) -> list[Mail] | Refusal:
    refusal = check_shape(payload, SendBulkEmail) or check_bulk(payload, body_bytes)
    if refusal is not None:
        return refusal
    wanted = placeholders(payload["DefaultContent"]["Template"]["TemplateContent"])
    return [_read_entry(payload, entry, wanted) for entry in payload["BulkEmailEntries"]]


def _read_entry(payload: Mapping[str, Any], entry: Any, wanted: frozenset[str]) -> Mail:
    refusal = check_entry(entry)
    if refusal is not None:
        return Mail(to=[], refused_as=_BULK_STATUS[refusal.error], error=refusal.message)
    content = payload["DefaultContent"]["Template"]["TemplateContent"]
    to = [address_of(mailbox) for mailbox in recipients(entry["Destination"])]
    try:
        variables = entry_variables(payload, entry)
        require_variables(wanted, variables)
        subject = substitute(content["Subject"], variables)
    except (MissingVariableError, ValueError) as error:
        return Mail(to=to, refused_as="INVALID_PARAMETER", error=str(error))
    refusal = check_subject(subject)
    if refusal is not None:
        return Mail(to=to, refused_as="INVALID_PARAMETER", error=refusal.message)
    tags = {**_tags(payload.get("DefaultEmailTags")), **_tags(entry.get("ReplacementTags"))}
    return Mail(to=to, subject=subject, tags=tags)


def _tags(tags: Any) -> dict[str, str]:
    return {tag["Name"]: tag["Value"] for tag in tags or []}


def _facts(call: Call) -> dict[str, str]:
    return {
        "to": ", ".join(to for mail in call.mails for to in mail.to),
        "subject": "\n".join(mail.subject for mail in call.mails),
        "tags": "\n".join(f"{name}={value}" for mail in call.mails for name, value in mail.tags.items()),
    }


def _answer(status: int, value: Any, error: str | None = None) -> Answer:
    named = () if error is None else (("x-amzn-errortype", error),)
    return Answer.json(status, value, headers=(("x-amzn-requestid", str(uuid.uuid4())), *named))


def _refuse(refusal: Refusal) -> Answer:
    message = f"{refusal.field}: {refusal.message}" if refusal.field else refusal.message
    return _answer(refusal.status, {"message": message}, error=refusal.error)
