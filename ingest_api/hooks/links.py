"""Owns our own links in what providers call back with: whether an address is one, and what a click on it says."""

from ingest_api.resources import Resources
from publishing.domain.links import ArticleLink, LinkError, Purpose, ReaderLink, verify_article, verify_reader


def read_click(resources: Resources, url: str | None) -> tuple[ReaderLink, ArticleLink] | None:
    """Return the parts of an address under /c/ that was signed here, None for any other address."""
    prefix = f"{resources.settings.public_url.rstrip('/')}/c/"
    if url is None or not url.startswith(prefix):
        return None
    article_part, _, reader_part = url.removeprefix(prefix).partition("/")
    try:
        article = verify_article(resources.tracking, article_part)
        reader = verify_reader(resources.tracking, Purpose.CLICK, reader_part)
    except LinkError:
        return None
    return (reader, article) if article.run_id == reader.run_id else None


def is_ours(resources: Resources, url: str | None) -> bool:
    """Whether following an address is counted by ourselves."""
    return read_click(resources, url) is not None
