"""Fault S4: notifications that only look like Amazon's are refused before anything is fetched."""

import dataclasses
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ingest_api.hooks import sns
from tests.fakes.amazon import CERT_URL, TOPIC, Amazon, bounce
from tests.fakes.hook_stage import HookStage, counted, hook_stage

pytestmark = pytest.mark.faults

PEM = "/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem"
# Each is a place where somebody else could keep a certificate, or that some parser takes for Amazon's.
LOOK_ALIKES = (
    f"http://sns.eu-west-1.amazonaws.com{PEM}",
    f"HTTPS://sns.eu-west-1.amazonaws.com{PEM}",
    f"ftp://sns.eu-west-1.amazonaws.com{PEM}",
    f"file:///sns.eu-west-1.amazonaws.com{PEM}",
    f"//sns.eu-west-1.amazonaws.com{PEM}",
    f"sns.eu-west-1.amazonaws.com{PEM}",
    f"https:sns.eu-west-1.amazonaws.com{PEM}",
    f"https:///sns.eu-west-1.amazonaws.com{PEM}",
    f" https://sns.eu-west-1.amazonaws.com{PEM}",
    f"https://sns.eu-west-1.amazonaws.com{PEM} ",
    f"https://sns.eu-west-1.amazonaws.com.example.org{PEM}",
    f"https://sns.eu-west-1.amazonaws.com.cn.example.org{PEM}",
    f"https://sns.eu-west-1.amazonaws.comx{PEM}",
    f"https://sns.eu-west-1.amazonaws.org{PEM}",
    f"https://sns.eu-west-1.amazonawsXcom{PEM}",
    f"https://snsXeu-west-1.amazonaws.com{PEM}",
    f"https://sns.eu-west-1.evil-amazonaws.com{PEM}",
    f"https://evil.sns.eu-west-1.amazonaws.com{PEM}",
    f"https://evilsns.eu-west-1.amazonaws.com{PEM}",
    f"https://sns.amazonaws.com{PEM}",
    f"https://sns..amazonaws.com{PEM}",
    f"https://sns.eu-west-1.s3.amazonaws.com{PEM}",
    f"https://sns.s3.amazonaws.com{PEM}",
    f"https://sns.s3-us-west-2.amazonaws.com{PEM}",
    f"https://sns.s3-accelerate.amazonaws.com{PEM}",
    f"https://sns.s3-website-us-east-1.amazonaws.com{PEM}",
    f"https://s3.eu-west-1.amazonaws.com/sns.{PEM}",
    f"https://sqs.eu-west-1.amazonaws.com{PEM}",
    f"https://sns.eu-west-1.amazonaws.com@example.org{PEM}",
    f"https://example.org@sns.eu-west-1.amazonaws.com{PEM}",
    f"https://a:b@sns.eu-west-1.amazonaws.com{PEM}",
    f"https://sns.eu-west-1.amazonaws.com:444{PEM}",
    f"https://sns.eu-west-1.amazonaws.com:443{PEM}",
    f"https://sns.eu-west-1.amazonaws.com\\@example.org{PEM}",
    f"https://example.org/sns.eu-west-1.amazonaws.com{PEM}",
    f"https://example.org/?https://sns.eu-west-1.amazonaws.com{PEM}",
    f"https://example.org#https://sns.eu-west-1.amazonaws.com{PEM}",
    f"https://127.0.0.1{PEM}",
    f"https://[::1]{PEM}",
    f"https://2130706433{PEM}",
    f"https://169.254.169.254{PEM}",
    f"https://sns.eu-west-1.amazonaws.com.{PEM}",
    f"https://sns.eu-west-1.amazonaws.com{PEM}?x=1",
    f"https://sns.eu-west-1.amazonaws.com{PEM}#x",
    f"https://sns.eu-west-1.amazonaws.com{PEM}/../evil.pem",
    f"https://sns.eu-west-1.amazonaws.com/..{PEM}",
    f"https://sns.eu-west-1.amazonaws.com/x{PEM}",
    f"https://sns.eu-west-1.amazonaws.com/x/..%2f{PEM}",
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-.pem",
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a/b.pem",
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem.exe",
    "https://sns.eu-west-1.amazonaws.com/redirect?to=evil.pem",
    f"https://sns.eu%2dwest-1.amazonaws.com{PEM}",
    f"https://sns.\uff45u-west-1.amazonaws.com{PEM}",
    f"https://sn\u0455.eu-west-1.amazonaws.com{PEM}",
    f"https://sns.eu-west-\u0661.amazonaws.com{PEM}",
)


@pytest.fixture
async def stage() -> AsyncIterator[HookStage]:
    """The application, whose fetches are written down and answered with the forger's own certificate."""
    async with hook_stage() as one:
        yield one


async def forged(stage: HookStage, **changes: Any) -> int:
    """Post a bounce that the forger signed with a key of their own, whose certificate every fetch would give."""
    return (await stage.sns(stage.amazon.message(bounce(), **changes))).status_code


async def test_the_forger_is_able(stage: HookStage) -> None:
    """Proof of the hit: at an address of SNS the forger's certificate would be believed; only the address is wrong."""
    assert await forged(stage) == 200
    assert stage.amazon.fetched == [CERT_URL]
    assert stage.kinds() == ["bounced"]


@pytest.mark.parametrize("url", LOOK_ALIKES)
async def test_look_alikes(stage: HookStage, url: str) -> None:
    """A certificate that is not at SNS itself is refused, nothing is fetched, nothing is kept."""
    before = counted("hook_refusals_total", provider="ses", reason="certificate_url")
    assert await forged(stage, SigningCertURL=url) == 403
    assert counted("hook_refusals_total", provider="ses", reason="certificate_url") == before + 1
    assert stage.amazon.fetched == []
    assert stage.kept.frames == []


@pytest.mark.parametrize("control", ["\n", "\r\n", "\t", "\x00", "\x7f"])
async def test_controls_in_an_address(stage: HookStage, control: str) -> None:
    """An address with a control character is malformed, also at its very end, where a dollar sign would not see it."""
    assert await forged(stage, SigningCertURL=CERT_URL + control) == 400
    assert stage.amazon.fetched == []


@pytest.mark.parametrize(
    "topic", [TOPIC + "2", TOPIC[:-1], TOPIC.upper(), TOPIC.replace("123456789012", "210987654321"), "x", TOPIC + " "]
)
async def test_foreign_topics(stage: HookStage, topic: str) -> None:
    """A topic that is not named is refused before anything is fetched, a subscription to it too."""
    assert await forged(stage, TopicArn=topic) == 403
    answer = await stage.sns(stage.amazon.confirmation(TopicArn=topic))
    assert answer.status_code == 403
    assert stage.amazon.fetched == []


@pytest.mark.parametrize("url", [url.replace(PEM, "/?Action=ConfirmSubscription") for url in LOOK_ALIKES if PEM in url])
async def test_subscriptions_are_confirmed_at_sns(stage: HookStage, url: str) -> None:
    """A subscription's address is fetched only when it is SNS's own: the certificate is all that is ever fetched."""
    url = f"{url}&TopicArn={TOPIC}&Token=2336412f37fb687f5d51e6e2425a8a5"
    answer = await stage.sns(stage.amazon.confirmation(SubscribeURL=url))
    assert answer.status_code == 403
    assert stage.amazon.fetched == [CERT_URL]


async def test_without_topics_nobody_calls() -> None:
    """An installation that names no topic answers 403 to everyone."""
    async with hook_stage() as stage:
        bare = dataclasses.replace(stage, amazon=Amazon(stage.amazon.now))
        settings = bare.resources.settings.model_copy(update={"sns_topic_arns": ""})
        async with hook_stage(settings) as closed:
            assert await forged(closed) == 403
            assert closed.amazon.fetched == []


async def test_mutant_without_anchors(stage: HookStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern that is searched for and not matched from end to end lets forgeries through, and they are counted."""
    loose = re.compile(sns._CERTIFICATE_URL.pattern.replace("https://", "", 1))
    monkeypatch.setattr(sns, "is_certificate_url", lambda url: loose.search(url) is not None)
    # Beyond ten fetches a minute the answer is 503: that one was let through, too.
    taken = [url for url in LOOK_ALIKES if await forged(stage, SigningCertURL=url) in {200, 503}]
    assert f"https://sns.eu-west-1.amazonaws.com{PEM}?x=1" in taken
    assert f"https://example.org/?https://sns.eu-west-1.amazonaws.com{PEM}" in taken
    assert len(taken) >= 20
    assert stage.kinds()[:1] == ["bounced"]


async def test_mutant_with_any_region(stage: HookStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A region that is any label lets a bucket of the name `sns` through."""
    wide = re.compile(r"https://sns\.[a-z0-9-]{3,}\.amazonaws\.com(\.cn)?/SimpleNotificationService-[A-Za-z0-9]+\.pem")
    monkeypatch.setattr(sns, "is_certificate_url", lambda url: wide.fullmatch(url) is not None)
    assert await forged(stage, SigningCertURL=f"https://sns.s3-us-west-2.amazonaws.com{PEM}") == 200
