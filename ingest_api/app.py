"""Owns the application: the tracking front, the edge behind it, the management API behind that."""

from ingest_api import openapi
from ingest_api.auth import TokenRules
from ingest_api.edge import Edge
from ingest_api.front import Front
from ingest_api.management import management_api
from ingest_api.resources import Resources
from publishing.runtime.settings import Settings


def create_app(settings: Settings) -> Front:
    """Build the whole ASGI application; its lifespan opens and closes the connections."""
    rules = TokenRules.of(settings)
    resources = Resources(settings)
    api = management_api(resources)
    api.state.describe = openapi.text
    return Front(Edge(api, rules), resources)
