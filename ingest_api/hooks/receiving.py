"""Owns the callbacks of all providers: one of each, over the connections of the application."""

from ingest_api.hooks.certificates import Certificates, HttpsCertificates
from ingest_api.hooks.ses import SesHook
from ingest_api.hooks.slack import SlackHook
from ingest_api.hooks.touches import Touches
from ingest_api.hooks.webhook import WebhookHook
from ingest_api.judging import Judge
from ingest_api.resources import Resources


class Hooks:
    """The hooks of an application; `certificates` is what may fetch from Amazon."""

    def __init__(self, resources: Resources, certificates: Certificates | None = None) -> None:
        """Build each hook; nothing is fetched yet."""
        judge = Judge(resources.settings)
        touches = Touches(resources, judge)
        self.ses = SesHook(resources, judge, certificates or HttpsCertificates())
        self.slack = SlackHook(resources, touches)
        self.webhook = WebhookHook(resources, touches)
