"""Configuration of all tests: shared fixtures, timeouts, and the report of skipped tests, which CI restricts."""

import gc
import os
import signal
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["tests.doubles.fixtures"]

# Collection imports both of Pulumi's SDKs and MLflow, a million objects that live until the end. Without garbage
# collection meanwhile, it takes a third of the time.
gc.disable()

# The duration of an example depends on the machine's load. In CI, Hypothesis selects its own profile without deadline.
hypothesis.settings.register_profile("proxy", deadline=None)
if not os.environ.get("CI"):
    hypothesis.settings.load_profile("proxy")

# A shell starts background processes with SIGINT ignored, which the child processes of tests would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
# Starting MLflow takes up to 20 s on a loaded machine, and a test may start MLflow's client several times.
MLFLOW_FIXTURES = {"mlflow_server", "fake_sagemaker"}
MLFLOW_TIMEOUT_SECONDS = 120
# The proxy's tests use time limits of a few seconds: a hanging one ends soon.
PROXY_TESTS = Path(__file__).parent / "proxy_app"
PROXY_TIMEOUT_SECONDS = 20


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests with a real MLflow server a longer timeout than the default, and the proxy's a shorter one.

    A test's own timeout takes precedence.
    """
    for item in items:
        if item.get_closest_marker("timeout") is not None:
            continue
        if MLFLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(MLFLOW_TIMEOUT_SECONDS))
        elif PROXY_TESTS in item.path.parents:
            item.add_marker(pytest.mark.timeout(PROXY_TIMEOUT_SECONDS))


def pytest_collection_finish() -> None:
    """Resume garbage collection, without the objects of the imported modules."""
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each reason for which tests were skipped."""
    reports: list[pytest.TestReport] = terminalreporter.stats.get("skipped", [])
    if reasons := Counter(_reason(report) for report in reports):
        terminalreporter.section("skipped tests")
        for reason, count in sorted(reasons.items()):
            terminalreporter.write_line(f"{count:>5}  {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, fail if a test was skipped for a reason that is not in allowed_skips.txt."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    allowed = [line for line in ALLOWED_SKIPS.read_text().splitlines() if line and not line.startswith("#")]
    reasons = {_reason(report) for report in reporter.stats.get("skipped", [])}
    not_allowed = sorted(reason for reason in reasons if not any(part in reason for part in allowed))
    if not_allowed:
        reporter.write_line("Skipped in CI, but not listed in tests/allowed_skips.txt:", red=True)
        for reason in not_allowed:
            reporter.write_line(f"  {reason}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reason(report: pytest.TestReport) -> str:
    location = report.longrepr
    return str(location[2] if isinstance(location, tuple) else location).removeprefix("Skipped: ")
