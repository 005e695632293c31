"""What a fault measured is told at the end of the run: docs/reliability.md quotes it."""

from collections.abc import Callable

import pytest

FIGURE = "figure"

Figure = Callable[[str], None]


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Tell one figure of this test, in words."""

    def tell(text: str) -> None:
        request.node.user_properties.append((FIGURE, text))

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the tests that passed."""
    told = [
        f"{report.nodeid.rsplit('/', 1)[-1]}: {text}"
        for report in terminalreporter.getreports("passed")
        for name, text in report.user_properties
        if name == FIGURE
    ]
    if told:
        terminalreporter.section("figures")
        for line in sorted(told):
            terminalreporter.write_line(line)
