"""Owns the test of a channel: a sample that says it is one, sent once, and what came of it."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from publishing.runtime.clock import utc_now
from publishing.runtime.settings import Settings
from sinks.channels import load
from sinks.contract import Accepted, Article, ConfigError, Item, Letter, Refused, RenderError, Retry

# An e-mail channel has no address of its own, and a sample in a feed would be read by everyone: both are only checked.
CHECKED_KINDS = frozenset({"email", "feed"})


async def send_sample(settings: Settings, kind: str, config: Mapping[str, Any], *, channel_id: int) -> dict[str, str]:
    """Test a channel: a room gets a marked sample, another kind is checked without a message to anyone."""
    channel = load().get(kind)
    if channel is None:
        return {"status": "failed", "detail": "this kind is not available"}
    try:
        parsed = channel.parse_config(config)
        if kind in CHECKED_KINDS:
            found = await channel.validate(parsed)
            return {"status": found.status, "detail": found.detail}
        message = channel.render(sample(channel_id, settings.public_url, utc_now()), parsed)
    except ConfigError as error:
        return {"status": "failed", "detail": f"config.{error.field}: {error.message}"}
    except RenderError as error:
        return {"status": "failed", "detail": error.reason}
    async with channel.open(settings) as connection:
        outcome = await channel.deliver(connection, parsed, message)
    if isinstance(outcome, Accepted):
        return {"status": "ok", "detail": "the sample was accepted"}
    status = "failed" if isinstance(outcome, Refused | Retry) else "untested"
    return {"status": status, "detail": outcome.reason}


def sample(channel_id: int, public_url: str, now: dt.datetime) -> Letter:
    """Make a letter of run 0, which no run is; the time as destination makes each test's delivery another one."""
    article = Article(
        content_id=0,
        version=1,
        title="Test message from Tidewire",
        summary="This channel was tested. Nothing else was sent, and nobody has to act.",
        url=public_url,
        author=None,
        language="en",
        topics=("test",),
        published_at=now,
    )
    return Letter(
        run_id=0,
        publication_id=0,
        channel_id=channel_id,
        destination=int(now.timestamp()),
        publication="Channel test",
        items=(Item(article=article, link=public_url),),
        sent_at=now,
    )
