"""What every test shares: the doubles, and the rule that CI fails on a skip nobody has allowed."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["tests.doubles.fixtures"]

# How long an example takes says more about the machine than about the code; in CI Hypothesis's own profile says so.
hypothesis.settings.register_profile("proxy", deadline=None)
if not os.environ.get("CI"):
    hypothesis.settings.load_profile("proxy")

# Started in the background by a shell, this process ignores Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI everything that tests need is installed: a skip there is a hole, unless its reason is on the list."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    allowed = [line for line in ALLOWED_SKIPS.read_text().splitlines() if line and not line.startswith("#")]
    reasons = {str(report.longrepr[2]) for report in reporter.stats.get("skipped", [])}
    holes = sorted(reason for reason in reasons if not any(part in reason for part in allowed))
    if holes:
        reporter.write_line("Skipped in CI, and not on tests/allowed_skips.txt:", red=True)
        for reason in holes:
            reporter.write_line(f"  {reason}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
