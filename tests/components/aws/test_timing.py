"""Timing: the timeouts that allow a deployment without failed requests."""

import pytest

from components.aws.settings import ServiceSettings
from components.aws.timing import Timing
from components.gcp.app_settings import AppSettings
from proxy_app.settings import Settings
from tests.doubles.mlflow_defaults import default_of

DEFAULTS = ServiceSettings()
# The bounds of the settings, and the default of the component.
TIMEOUTS = [
    (10, 10),
    (10, 3600),
    (DEFAULTS.upstream_timeout_seconds, DEFAULTS.long_upstream_timeout_seconds),
    (600, 3519),
    (3600, 3600),
]
# The proxy's default; it makes at most three attempts to connect.
CONNECT_SECONDS = 3 * Settings(upstream_url="http://127.0.0.1:1").connect_timeout


@pytest.fixture(params=TIMEOUTS)
def timing(request: pytest.FixtureRequest) -> Timing:
    upstream_timeout, long_upstream_timeout = request.param
    return Timing(upstream_timeout=upstream_timeout, long_upstream_timeout=long_upstream_timeout)


def test_idle_timeout_is_shorter_than_the_proxy_keepalive(timing: Timing) -> None:
    assert timing.idle_timeout < timing.keepalive


def test_idle_timeout_is_within_the_limits_of_a_load_balancer(timing: Timing) -> None:
    assert 1 <= timing.idle_timeout <= 4000


def test_body_connect_and_upstream_timeouts_together_are_shorter_than_the_idle_timeout(timing: Timing) -> None:
    longest = max(timing.upstream_timeout, timing.long_upstream_timeout)
    assert timing.body_timeout + CONNECT_SECONDS + longest < timing.idle_timeout


def test_defaults_are_those_of_the_proxy() -> None:
    proxy = Settings(upstream_url="http://127.0.0.1:1")
    for settings in (DEFAULTS, AppSettings()):
        assert settings.upstream_timeout_seconds == proxy.upstream_timeout
        assert settings.long_upstream_timeout_seconds == proxy.long_upstream_timeout
    # MLflow's clients give up after 120 seconds, and its AI Gateway after 300.
    assert proxy.upstream_timeout < default_of("MLFLOW_HTTP_REQUEST_TIMEOUT")
    assert proxy.long_upstream_timeout > default_of("MLFLOW_GATEWAY_ROUTE_TIMEOUT_SECONDS")


def test_stalled_request_times_out_before_deregistration_ends(timing: Timing) -> None:
    longest = timing.body_timeout + timing.long_upstream_timeout
    # A target group's maximum is 3600.
    assert timing.deregistration_delay == 3600 or longest < timing.deregistration_delay


def test_deregistration_delay_is_within_the_limits_of_a_target_group(timing: Timing) -> None:
    assert 0 <= timing.deregistration_delay <= 3600


def test_drain_and_grace_are_shorter_than_the_stop_timeout(timing: Timing) -> None:
    # The proxy counts drain as a part of grace; the stop timeout covers their sum too.
    assert timing.drain < timing.grace
    assert timing.drain + timing.grace < timing.stop_timeout


def test_rollout_timeout_is_longer_than_stopping_old_tasks_twice(timing: Timing) -> None:
    assert timing.rollout > 2 * (timing.deregistration_delay + timing.stop_timeout)


def test_proxy_settings_accept_every_timeout(timing: Timing) -> None:
    seconds = {
        "MLFLOW_PROXY_BODY_TIMEOUT_SECONDS": timing.body_timeout,
        "MLFLOW_PROXY_UPSTREAM_TIMEOUT_SECONDS": timing.upstream_timeout,
        "MLFLOW_PROXY_LONG_UPSTREAM_TIMEOUT_SECONDS": timing.long_upstream_timeout,
        "MLFLOW_PROXY_KEEPALIVE_SECONDS": timing.keepalive,
        "MLFLOW_PROXY_DRAIN_SECONDS": timing.drain,
        "MLFLOW_PROXY_GRACE_SECONDS": timing.grace,
    }
    settings = Settings.from_env(
        {"MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:1", "MLFLOW_PROXY_TOKENS_FILE": "/tokens"}
        | {name: str(value) for name, value in seconds.items()}
    )
    assert (settings.body_timeout, settings.upstream_timeout) == (timing.body_timeout, timing.upstream_timeout)
    assert (settings.keepalive, settings.drain, settings.grace) == (timing.keepalive, timing.drain, timing.grace)
