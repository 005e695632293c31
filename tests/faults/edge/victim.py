"""A well-behaved client, `python victim.py <port>`: one request at a time for two seconds; prints its p99."""

import http.client
import json
import sys
import time

SECONDS = 2.0
PAUSE_S = 0.002

client = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
client.connect()
taken_ms: list[float] = []
ends_s = time.perf_counter() + SECONDS
while time.perf_counter() < ends_s:
    started_s = time.perf_counter()
    client.request("HEAD", "/c/a/b")
    client.getresponse().read()
    taken_ms.append((time.perf_counter() - started_s) * 1_000)
    time.sleep(PAUSE_S)
taken_ms.sort()
print(json.dumps({"requests": len(taken_ms), "p99_ms": taken_ms[int(len(taken_ms) * 0.99)]}))  # noqa: T201  - its answer
