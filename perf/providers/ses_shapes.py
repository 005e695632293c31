"""The shapes of SES v2 requests, as its API reference writes them; a body of another shape is not deserialized."""

from __future__ import annotations

from typing import Any

import msgspec

from perf.providers.exchange import Refusal


class Destination(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Destination.html."""

    ToAddresses: list[str] | None = None
    CcAddresses: list[str] | None = None
    BccAddresses: list[str] | None = None


class Tag(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageTag.html."""

    Name: str
    Value: str


class Header(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageHeader.html."""

    Name: str
    Value: str


class MailText(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Content.html."""

    Data: str
    Charset: str | None = None


class Body(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Body.html."""

    Text: MailText | None = None
    Html: MailText | None = None


class Simple(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Message.html."""

    Subject: MailText
    Body: Body
    Headers: list[Header] | None = None


class Raw(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_RawMessage.html."""

    Data: str


class TemplateContent(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_EmailTemplateContent.html."""

    Subject: str | None = None
    Text: str | None = None
    Html: str | None = None


class Template(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Template.html."""

    TemplateName: str | None = None
    TemplateContent: TemplateContent | None = None
    TemplateData: str | None = None
    Headers: list[Header] | None = None


class Content(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_EmailContent.html."""

    Simple: Simple | None = None
    Raw: Raw | None = None
    Template: Template | None = None


class SendEmail(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html."""

    Content: Content
    FromEmailAddress: str | None = None
    Destination: Destination | None = None
    ReplyToAddresses: list[str] | None = None
    EmailTags: list[Tag] | None = None
    ConfigurationSetName: str | None = None


class ReplacementTemplate(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_ReplacementTemplate.html."""

    ReplacementTemplateData: str | None = None


class ReplacementContent(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_ReplacementEmailContent.html."""

    ReplacementTemplate: ReplacementTemplate | None = None


class BulkEntry(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_BulkEmailEntry.html."""

    Destination: Destination
    ReplacementTags: list[Tag] | None = None
    ReplacementEmailContent: ReplacementContent | None = None
    ReplacementHeaders: list[Header] | None = None


class BulkContent(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_BulkEmailContent.html."""

    Template: Template | None = None


class SendBulkEmail(msgspec.Struct):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendBulkEmail.html."""

    DefaultContent: BulkContent
    BulkEmailEntries: list[BulkEntry]
    FromEmailAddress: str | None = None
    ReplyToAddresses: list[str] | None = None
    DefaultEmailTags: list[Tag] | None = None
    ConfigurationSetName: str | None = None


def check_shape(payload: Any, shape: type[SendEmail | SendBulkEmail]) -> Refusal | None:
    """Refuse a body with a member of another type, or without a required one."""
    try:
        msgspec.convert(payload, shape)
    except msgspec.ValidationError as error:
        return Refusal(error="SerializationException", message=str(error))
    return None
