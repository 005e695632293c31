"""Owns how a callback is refused: which problem it is answered with, and which reason is counted."""

from ingest_api.problems import FieldError, ProblemError
from publishing.runtime import metrics
from publishing.runtime.logs import get_logger

# SNS carries at most 262,144 bytes of message (https://docs.aws.amazon.com/general/latest/gr/sns.html), and JSON in
# JSON takes up to twice that; Slack and webhooks send far less.
MAX_HOOK_BYTES = 786_432

log = get_logger(__name__)


def refused(provider: str, reason: str) -> ProblemError:
    """Return the 403 of a callback that nobody vouches for; the reason, of a closed list, goes to the metric alone."""
    metrics.HOOK_REFUSALS.labels(provider, reason).inc()
    log.warning("hook.refused", provider=provider, reason=reason)
    return ProblemError(403, "The callback is not signed by one that is trusted here.")


def malformed(provider: str, *fields: str) -> ProblemError:
    """Return the 400 of a callback that cannot be read; it names fields and repeats no value."""
    metrics.HOOK_REFUSALS.labels(provider, "malformed").inc()
    errors = tuple(FieldError(field, "is missing or not valid") for field in fields)
    return ProblemError(400, "The callback is not of the form that its provider describes.", errors)


def too_large(provider: str) -> ProblemError:
    """Return the 413 of a body above the limit."""
    metrics.HOOK_REFUSALS.labels(provider, "too_large").inc()
    return ProblemError(413, f"A callback has at most {MAX_HOOK_BYTES} bytes.", headers={"Connection": "close"})
