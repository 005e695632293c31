"""How the SES simulator reads and composes mails."""

from __future__ import annotations

import base64
import json
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest

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

pytestmark = pytest.mark.unit


def bulk_call() -> dict[str, Any]:
    """A bulk call of two entries: one by default data, one with everything replaced."""
    data = json.dumps({"name": "Zoë", "url": "https://example.org/" + "x" * 900})
    return {
        "FromEmailAddress": "News <news@example.org>",
        "ReplyToAddresses": ["desk@example.org"],
        "DefaultContent": {
            "Template": {
                "TemplateContent": {
                    "Subject": "For {{name}}",
                    "Html": '<a href="{{ url }}">{{{name}}}</a>',
                    "Text": "{{greeting}} {{name}}",
                },
                "TemplateData": json.dumps({"greeting": "Hello", "name": "reader"}),
                "Headers": [{"Name": "Auto-Submitted", "Value": "no"}, {"Name": "X-Kept", "Value": "1"}],
            }
        },
        "BulkEmailEntries": [
            {"Destination": {"ToAddresses": ["first@example.org"]}},
            {
                "Destination": {"ToAddresses": ["zoe@example.org"], "CcAddresses": ["cc@example.org"]},
                "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": data}},
                "ReplacementHeaders": [
                    {"Name": "Auto-Submitted", "Value": "auto-generated"},
                    {"Name": "List-Unsubscribe", "Value": "<https://example.org/u/" + "t" * 300 + ">"},
                ],
            },
        ],
    }


def test_bulk_mail_is_composed_from_template_data_and_headers() -> None:
    """The entry's data and headers replace the call's; a long header value stays as it is."""
    message = message_from_bytes(render(bulk_call(), 1, "m-1"), policy=default)
    assert message["Subject"] == "For Zoë"
    assert message["To"] == "zoe@example.org"
    assert message["Cc"] == "cc@example.org"
    assert message["Reply-To"] == "desk@example.org"
    assert message.get_all("Auto-Submitted") == ["auto-generated"]
    assert message["X-Kept"] == "1"
    assert message["List-Unsubscribe"] == "<https://example.org/u/" + "t" * 300 + ">"
    assert message["Message-ID"] == "<m-1@email.amazonses.com>"
    html, text = message.get_body(("html",)), message.get_body(("plain",))
    assert html is not None
    assert html.get_content().strip() == '<a href="https://example.org/' + "x" * 900 + '">Zoë</a>'
    assert text is not None
    assert text.get_content().strip() == "Hello Zoë"


def test_raw_mail_is_returned_as_it_was_sent() -> None:
    """The bytes of raw content are not touched."""
    raw = b"Subject: x\r\nX-Odd:  spaced\r\n\r\nbody\r\n"
    call = {"Content": {"Raw": {"Data": base64.b64encode(raw).decode()}}}
    assert render(call, 0, "m-1") == raw


def test_simple_mail_may_be_html_only() -> None:
    """Simple content without text is one HTML part."""
    content = {"Subject": {"Data": "S"}, "Body": {"Html": {"Data": "<p>é</p>"}}}
    call = {
        "FromEmailAddress": "n@example.org",
        "Destination": {"BccAddresses": ["b@example.org"]},
        "Content": {"Simple": content},
    }
    message = message_from_bytes(render(call, 0, "m-1"), policy=default)
    assert message.get_content_type() == "text/html"
    assert message.get_content().strip() == "<p>é</p>"


def test_header_facts_are_unfolded_and_decoded() -> None:
    """Folded lines are one value, and an encoded word is its text; a broken one stays as it is."""
    raw = (
        b"Subject: =?utf-8?q?Caf=C3=A9?=\r\n news\r\nTo: a@example.org,\r\n\tb@example.org\r\n"
        b"X-Bad: =?nope?q?x?=\r\nSubject: second\r\n\r\nbody"
    )
    facts = header_facts(raw)
    assert facts["subject"] == "Café news"
    assert facts["to"] == "a@example.org,\tb@example.org"
    assert facts["x-bad"] == "=?nope?q?x?="


def test_tags_of_the_header_are_read() -> None:
    """X-SES-MESSAGE-TAGS lists name=value pairs."""
    assert header_tags("run=7, channel=2") == {"run": "7", "channel": "2"}
    assert header_tags("") == {}


def test_substitution_is_plain_and_needs_every_variable() -> None:
    """Values go in unescaped, and a missing one is an error that names it."""
    assert substitute("{{a}}-{{ b }}", {"a": "<i>", "b": 2}) == "<i>-2"
    with pytest.raises(MissingVariableError) as caught:
        substitute("{{a}}", {})
    assert caught.value.name == "a"


def test_placeholders_of_all_parts_are_required() -> None:
    """A variable of any part that the data lacks is found before anything is accepted."""
    names = placeholders({"Subject": "{{a}}", "Text": "{{b}}", "Html": "{{{c}}}"})
    assert names == {"a", "b", "c"}
    require_variables(names, {"a": 1, "b": 2, "c": 3})
    with pytest.raises(MissingVariableError, match="'b'"):
        require_variables(names, {"a": 1, "c": 3})


def test_template_data_is_an_object() -> None:
    """A list or broken JSON as template data is an error."""
    call = bulk_call()
    for data in ("[]", "{"):
        broken = {"ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": data}}}
        with pytest.raises(ValueError, match=r"."):
            entry_variables(call, broken)
