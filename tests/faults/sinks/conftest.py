"""Simulators, a stage and workers for tests of the sinks under fault."""

from tests.fakes.sink_fixtures import providers, stage, start_sink

__all__ = ["providers", "stage", "start_sink"]
