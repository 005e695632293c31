"""Slack and Discord messages pass the providers' own checks, and mention nobody."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perf.providers import discord_checks, slack_checks
from sinks.channels import discord, slack
from sinks.contract import MAX_ARTICLES, Article, Item, Letter

pytestmark = pytest.mark.unit
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SLACK = slack.CHANNEL.parse_config({"webhook_url": "https://hooks.slack.com/services/T0/B0/x"})
DISCORD = discord.CHANNEL.parse_config({"webhook_url": "https://discord.com/api/webhooks/1/x"})

MENTIONS = [
    "<!channel>", "<!here>", "<!everyone>", "<!subteam^S1>", "<@U123>", "<#C123>", "@channel", "@here", "@everyone",
    "<@123>", "<@!123>", "<@&123>", "<#123>", "<https://evil.example|click>", "[click](https://evil.example)",
    "`code`", "*b* _i_ ~s~", "||spoiler||", "&lt;!channel&gt;", "a|b>c", "\\<@1>", "https://evil.example",
]  # fmt: skip


def letter_of(texts: list[str], url: str = "https://example.org/a", link_chars: int = 220) -> Letter:
    """A room's letter with an article for each text."""
    items = tuple(
        Item(
            article=Article(
                content_id=n, version=1, title=text, summary=text, url=url, author=None, language="en", topics=(),
                published_at=NOW,
            ),
            link="https://t.example.org/c/" + "x" * link_chars,
        )
        for n, text in enumerate(texts, 1)
    )  # fmt: skip
    return Letter(
        run_id=123_456_789_012,
        publication_id=1,
        channel_id=1_000,
        destination=123_456_789_012,
        publication=texts[0],
        items=items,
        sent_at=NOW,
    )


TEXTS = st.one_of(
    st.lists(st.text(max_size=40) | st.sampled_from(MENTIONS), min_size=1, max_size=MAX_ARTICLES),
    st.builds(
        lambda unit, times, n: [unit * times] * n,
        st.text(min_size=1, max_size=4) | st.sampled_from(MENTIONS),
        st.integers(1, 1_000),
        st.integers(1, MAX_ARTICLES),
    ),
)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(TEXTS, st.integers(150, 2_900), st.integers(1, 1_900))
def test_slack_takes_every_message(texts: list[str], link_chars: int, url_chars: int) -> None:
    """Whatever the texts, the links and their number, Slack's own checks find nothing."""
    message = slack.CHANNEL.render(letter_of(texts, "https://example.org/" + "u" * url_chars, link_chars), SLACK)
    assert slack_checks.check(message.body) is None
    assert len(message.body["text"]) <= 4_000


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(TEXTS, st.integers(150, 2_900), st.integers(1, 1_900))
def test_discord_takes_every_message(texts: list[str], link_chars: int, url_chars: int) -> None:
    """Whatever the texts, the links and their number, Discord's own checks find nothing."""
    message = discord.CHANNEL.render(letter_of(texts, "https://example.org/" + "u" * url_chars, link_chars), DISCORD)
    assert discord_checks.check(message.body) is None
    assert len(message.body["nonce"]) <= 25


@pytest.mark.parametrize("text", MENTIONS)
def test_slack_mentions_are_neutral(text: str) -> None:
    """No text of an article is a mention or a link of its own; only our links have angle brackets."""
    message = slack.CHANNEL.render(letter_of([text]), SLACK)
    for block in message.body["blocks"][1:]:
        content = block["text"]["text"]
        assert content.count("<") == content.count("<https://t.example.org/c/") == 1
        assert content.count(">") == 1
        assert "@channel" not in content
        assert "@here" not in content
        assert block["text"]["verbatim"] is True
    assert "<" not in message.body["text"]


@pytest.mark.parametrize("text", MENTIONS)
def test_discord_mentions_are_neutral(text: str) -> None:
    """Mentions are switched off for the message, and no text is one or a link of its own."""
    for count in (1, 11):
        message = discord.CHANNEL.render(letter_of([text] * count), DISCORD)
        assert message.body["allowed_mentions"] == {"parse": []}
        content = json.dumps([message.body["content"], message.body["embeds"]], ensure_ascii=False)
        assert "@everyone" not in content
        assert "@here" not in content
        for mention in ("<@1", "<@&", "<@!", "<#"):
            assert mention not in content.replace("\\\\<", "")


def test_ten_articles_are_shown_whole_and_fifty_as_a_list() -> None:
    """Up to ten articles have a block each with a summary; fifty of usual length keep their tracked links in Slack."""
    ten = slack.CHANNEL.render(letter_of([f"Title {n}" for n in range(10)]), SLACK)
    assert len(ten.body["blocks"]) == 11
    fifty = slack.CHANNEL.render(letter_of([f"Title {n}" for n in range(50)]), SLACK)
    assert sum(block["text"]["text"].count("https://t.example.org/c/") for block in fifty.body["blocks"]) == 50
    cards = discord.CHANNEL.render(letter_of([f"Title {n}" for n in range(10)]), DISCORD)
    assert len(cards.body["embeds"]) == 10
