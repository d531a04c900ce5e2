"""Timing: the timeouts that allow a deployment without failed requests."""

import pytest

from components.aws.load_balancer_settings import LoadBalancerSettings
from components.aws.timing import Timing
from proxy_app.settings import Settings

# The bounds of the setting, the default of AWS, and the default of the component.
IDLE_TIMEOUTS = [60, 61, 120, LoadBalancerSettings().idle_timeout_seconds, 600, 3599, 3600, 4000]
# The proxy's default; it makes at most three attempts to connect.
CONNECT_SECONDS = 3 * Settings(upstream_url="http://127.0.0.1:1").connect_timeout


@pytest.fixture(params=IDLE_TIMEOUTS)
def timing(request: pytest.FixtureRequest) -> Timing:
    return Timing(idle_timeout_seconds=request.param)


def test_idle_timeout_is_shorter_than_the_proxy_keepalive(timing: Timing) -> None:
    assert timing.idle_timeout_seconds < timing.keepalive


def test_body_connect_and_upstream_timeouts_together_are_shorter_than_the_idle_timeout(timing: Timing) -> None:
    assert timing.body_timeout + CONNECT_SECONDS + timing.upstream_timeout < timing.idle_timeout_seconds


def test_default_upstream_timeout_is_at_least_the_default_of_the_proxy() -> None:
    # MLflow clients time out after 120 seconds, the proxy by default a little earlier.
    assert (
        Settings(upstream_url="http://127.0.0.1:1").upstream_timeout
        <= Timing(idle_timeout_seconds=LoadBalancerSettings().idle_timeout_seconds).upstream_timeout
    )


def test_stalled_request_times_out_before_deregistration_ends(timing: Timing) -> None:
    longest = timing.body_timeout + timing.upstream_timeout
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
