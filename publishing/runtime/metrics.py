"""The closed list of metrics: every name, unit and label; no label holds an id or an address."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"tidewire_{name}", text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(f"tidewire_{name}", text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, *labels: str) -> Histogram:
    return Histogram(f"tidewire_{name}", text, labels, buckets=SECONDS, registry=REGISTRY)


# Streams and sinks
RECORDS = _counter(
    "records_total", "Kafka records by outcome: applied, replayed, buried.", "consumer", "topic", "outcome"
)
BATCH_SECONDS = _histogram("batch_seconds", "From a batch's arrival to its commit.", "consumer")
FENCES_LOST = _counter("fences_lost_total", "Writes refused because another owner had advanced.", "consumer")
RETRIES = _counter("retries_total", "Batches tried again in place after a transient error.", "consumer")
BURIED = _counter("buried_records_total", "Records sent to a dead-letter topic.", "topic", "reason")
LOOP_FAILURES = _counter("loop_failures_total", "Passes of a background loop that failed and will be repeated.", "loop")

# Content, audience, runs
CONTENT_ITEMS = _counter("content_items_total", "Content items by outcome: stored, known, refused.", "outcome")
PLANNED = _counter("planned_deliveries_total", "Deliveries planned.", "lane")
EXCLUDED = _counter("excluded_candidates_total", "Candidates left out of a plan.", "reason")
PLAN_SECONDS = _histogram("plan_seconds", "From a shard's input to its stored plan.", "trigger")
RUNS = _counter("runs_total", "Runs by outcome: created, done.", "outcome")
OUTBOX_UNSENT = _gauge("outbox_unsent_rows", "Rows of the outbox that wait for the relay.")
OUTBOX_AGE_SECONDS = _gauge("outbox_oldest_seconds", "Age of the oldest row that waits.")

# Deliveries
DELIVERIES = _counter("deliveries_total", "Deliveries by the state they reached.", "kind", "lane", "state")
PROVIDER_SECONDS = _histogram("provider_seconds", "Duration of one provider call.", "kind")
DELIVERY_SECONDS = _histogram(
    "delivery_seconds", "From a frame's arrival to the provider's acceptance.", "kind", "lane"
)

# Collector and engagement
HITS = _counter("hits_total", "Readers' hits by outcome: counted, dropped, invalid, ignored.", "kind", "outcome")
SPOOL_FRAMES = _gauge("spool_frames", "Frames of hits that wait on disk for the broker.")
SPOOL_BYTES = _gauge("spool_bytes", "What the spool takes on disk, bytes.")
SPOOL_OLDEST_SECONDS = _gauge("spool_oldest_seconds", "Age of the oldest frame that waits on disk.")
SPOOL_SENT = _counter("spool_sent_frames_total", "Frames that left the spool for the broker.")
BREAKER_STATE = _gauge("collector_breaker_state", "Whether the broker is asked: 0 closed, 1 half open, 2 open.")
SUPPRESSIONS = _counter("suppressions_total", "Suppressions written, by the path: direct, stream.", "path")
HOOK_EVENTS = _counter(
    "hook_events_total",
    "Events that providers called back with, by outcome: counted, dropped, ignored, unknown.",
    "provider",
    "kind",
    "outcome",
)
HOOK_REFUSALS = _counter("hook_refusals_total", "Callbacks refused, by what was wrong with them.", "provider", "reason")
LATE_EVENTS = _counter("late_events_total", "Events that arrived after their window was closed.")
CLAMPED_EVENTS = _counter("clamped_events_total", "Events whose time was outside the horizon.", "direction")
LIVE_STREAMS = _gauge("live_streams", "Open streams of live hints.")
LIVE_HINTS = _counter("live_hints_total", "Live hints by outcome: sent, dropped, malformed.", "outcome")
REPEATED_EVENTS = _counter("repeated_events_total", "Events or frames already counted.", "unit")

# HTTP
REQUESTS = _counter("http_requests_total", "HTTP requests by route template.", "route", "method", "status")
REQUEST_SECONDS = _histogram("http_request_seconds", "Duration of an HTTP request.", "route")
REFUSED_CONNECTIONS = _counter(
    "refused_connections_total",
    "Connections ended by the edge: header_deadline, body_deadline, write_deadline, header_size, body_size, "
    "body_coding, malformed, address_cap, connection_cap.",
    "reason",
)
