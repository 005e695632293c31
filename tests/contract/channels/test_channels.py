"""Every channel fills the same port: the spec runs over the folder, so that a new file is under test at once."""

import base64
import copy
import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks.channels import load
from sinks.contract import MAX_ARTICLES, Article, Channel, ConfigError, Item, Letter

pytestmark = pytest.mark.contract

SECRET_TEXT = "s3cr3tpathsegment"
KEY = bytes(range(32))
CONFIGS: dict[str, dict[str, Any]] = {
    "email": {"sender": "Nachrichten f\u00fcr alle <news@example.org>", "configuration_set": "main"},
    "slack": {"webhook_url": f"https://hooks.slack.com/services/T0/B0/{SECRET_TEXT}"},
    "discord": {"webhook_url": f"https://discord.com/api/webhooks/1/{SECRET_TEXT}"},
    "webhook": {"url": f"https://example.org/{SECRET_TEXT}", "secret": "whsec_" + base64.b64encode(KEY).decode()},
    "feed": {"title": "Feed", "link": "https://example.org/", "description": "All"},
}
CHANNELS = load()
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

# Everything that a producer can put into a text, and far beyond every limit.
NASTY = st.sampled_from(
    ["<!channel>", "@everyone", "\r\nBcc: x@y", "=?utf-8?q?=0d=0aBcc:=20x?=", "<script>", "](", "\\", "\u202e"]
)
TEXT = st.one_of(
    st.text(max_size=30),
    NASTY,
    st.builds(lambda unit, times: unit * times, st.text(min_size=1, max_size=3), st.integers(1, 1_500)),
    st.builds(lambda unit, times: unit * times, NASTY, st.integers(1, 500)),
)
URL = st.builds(
    lambda tail: "https://example.org/" + "a" * tail, st.one_of(st.integers(1, 60), st.integers(1_000, 1_970))
)
ARTICLE = st.builds(
    Article,
    content_id=st.integers(1, 10**15),
    version=st.integers(1, 9),
    title=TEXT,
    summary=TEXT,
    url=URL,
    author=st.none() | TEXT,
    language=st.just("en"),
    topics=st.just(("go", "databases")),
    published_at=st.just(NOW),
)
LINK = st.none() | st.builds(lambda n: "https://t.example.org/c/" + "x" * n, st.integers(150, 2_900))
ITEMS = st.one_of(
    st.lists(st.builds(Item, article=ARTICLE, link=LINK), min_size=1, max_size=3),
    st.builds(lambda item, n: [item] * n, st.builds(Item, article=ARTICLE, link=LINK), st.integers(1, MAX_ARTICLES)),
    st.builds(lambda item: [item] * MAX_ARTICLES, st.builds(Item, article=ARTICLE, link=LINK)),
)


def letter_of(items: list[Item], publication: str = "Weekly") -> Letter:
    """A letter of these items to one reader."""
    return Letter(
        run_id=77,
        publication_id=12,
        channel_id=3,
        destination=41,
        publication=publication,
        items=tuple(items),
        sent_at=NOW,
        address="reader41@example.org",
        open_url="https://t.example.org/o/abc.gif",
        unsubscribe_url="https://t.example.org/u/abc",
    )


@pytest.fixture(params=sorted(CHANNELS))
def channel(request: pytest.FixtureRequest) -> Channel:
    """Each channel of the folder."""
    found: Channel = CHANNELS[request.param]
    return found


def test_every_channel_has_an_example_here() -> None:
    """A channel without a configuration to test it by is not done."""
    assert set(CONFIGS) == set(CHANNELS)


def test_limits_name_their_source(channel: Channel) -> None:
    """Each limit is positive and says where it was read."""
    assert channel.limits.source.startswith("https://")
    assert channel.limits.per_second > 0
    assert channel.limits.burst >= 1
    assert channel.limits.max_size > 0


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(items=ITEMS, publication=TEXT)
def test_a_message_keeps_the_limits(channel: Channel, items: list[Item], publication: str) -> None:
    """No text, address or number of articles makes a message that is over its channel's limit."""
    config = channel.parse_config(CONFIGS[channel.name])
    message = channel.render(letter_of(items, publication), config)
    assert 0 < channel.size(message) <= channel.limits.max_size


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(items=ITEMS)
def test_rendering_is_pure(channel: Channel, items: list[Item]) -> None:
    """The same letter makes the same message, and is left as it was."""
    config = channel.parse_config(CONFIGS[channel.name])
    letter = letter_of(items)
    before = copy.deepcopy(letter)
    assert channel.render(letter, config) == channel.render(copy.deepcopy(letter), config)
    assert letter == before


@pytest.mark.parametrize("url_chars", [40, 1_900])
def test_no_article_is_left_out(channel: Channel, url_chars: int) -> None:
    """Fifty articles are all in the message, with their links or without."""
    items = [
        Item(
            article=Article(
                content_id=number,
                version=1,
                title=f"Title{number:03d}",
                summary="s" * 900,
                url="https://example.org/" + "u" * url_chars,
                author=None,
                language="en",
                topics=(),
                published_at=NOW,
            ),
            link="https://t.example.org/c/" + "x" * (180 + url_chars),
        )
        for number in range(MAX_ARTICLES)
    ]
    message = channel.render(letter_of(items), channel.parse_config(CONFIGS[channel.name]))
    content = repr([getattr(message, f.name) for f in dataclasses.fields(message)])
    if channel.name == "email":
        import email

        content = "".join(
            part.get_payload(decode=True).decode()  # type: ignore[union-attr]
            for part in email.message_from_bytes(message.raw).walk()
            if not part.is_multipart()
        )
    assert all(f"Title{number:03d}" in content for number in range(MAX_ARTICLES))


def test_secrets_are_in_no_repr(channel: Channel) -> None:
    """Neither a configuration nor a message shows a secret, a key or an address when it is printed."""
    config = channel.parse_config(CONFIGS[channel.name])
    item = Item(
        article=Article(
            content_id=1,
            version=1,
            title="T",
            summary="S",
            url="https://example.org/",
            author=None,
            language="en",
            topics=(),
            published_at=NOW,
        ),
        link=None,
    )
    letter = letter_of([item])
    shown = repr(config) + repr(letter) + repr(channel.render(letter, config))
    assert SECRET_TEXT not in shown
    assert repr(KEY) not in shown
    assert "reader41@" not in shown


@pytest.mark.parametrize("wrong", [None, 7, "", "x", [], {"a": 1}, "http://a b", "ftp://x/", "https://u:p@x/", "a\nb"])
def test_configurations_are_checked(channel: Channel, wrong: Any) -> None:
    """Every field refuses what it cannot use, an unknown field is refused, and no error repeats the value."""
    config = CONFIGS[channel.name]
    first = next(iter(config))
    if not (channel.name == "feed" and wrong == "x") and not (
        channel.name == "feed" and str(wrong).strip()[:4] in {"http", "ftp:"}
    ):
        with pytest.raises(ConfigError) as raised:
            channel.parse_config({**config, first: wrong})
        assert raised.value.field == first
        assert str(wrong) not in raised.value.message or len(str(wrong)) < 3
    with pytest.raises(ConfigError):
        channel.parse_config({**config, "misspelt": "x"})
    with pytest.raises(ConfigError):
        channel.parse_config({})


async def test_validation_says_what_is_known(channel: Channel) -> None:
    """Validation needs no network and gives one of three words."""
    validation = await channel.validate(channel.parse_config(CONFIGS[channel.name]))
    assert validation.status in {"ok", "failed", "untested"}
    json.dumps(dataclasses.asdict(validation))
