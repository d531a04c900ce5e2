"""The numbers that a rollout without a lost request rests on."""

import pytest

from components.aws.load_balancer_settings import LoadBalancerSettings
from components.aws.timing import Timing
from proxy_app.settings import Settings

# The bounds that the setting has, AWS's own default, and ours.
BOUNDS = [60, 61, 120, LoadBalancerSettings().idle_timeout_seconds, 600, 3599, 3600, 4000]
# What the proxy has where nobody says otherwise; three attempts at connecting are the most that it makes.
CONNECTING = 3 * Settings(upstream_url="http://127.0.0.1:1").connect_timeout


@pytest.fixture(params=BOUNDS)
def timing(request: pytest.FixtureRequest) -> Timing:
    return Timing(idle_timeout_seconds=request.param)


def test_the_load_balancer_closes_idle_connections_before_the_proxy_does(timing: Timing) -> None:
    assert timing.idle_timeout_seconds < timing.keepalive


def test_the_proxy_gives_up_before_the_load_balancer_also_after_it_had_to_wait(timing: Timing) -> None:
    assert timing.body_timeout + CONNECTING + timing.upstream_timeout < timing.idle_timeout_seconds


def test_the_usual_settings_leave_an_answer_as_long_as_the_clients_wait() -> None:
    # MLflow's clients give up after 120 seconds, the proxy by its own default a little before.
    assert (
        Settings(upstream_url="http://127.0.0.1:1").upstream_timeout
        <= Timing(idle_timeout_seconds=LoadBalancerSettings().idle_timeout_seconds).upstream_timeout
    )


def test_a_request_to_which_nothing_moves_ends_before_its_target_is_gone(timing: Timing) -> None:
    longest = timing.body_timeout + timing.upstream_timeout
    # Up to the hour that a target group can take.
    assert timing.deregistration_delay == 3600 or longest < timing.deregistration_delay


def test_a_target_group_takes_the_delay(timing: Timing) -> None:
    assert 0 <= timing.deregistration_delay <= 3600


def test_the_proxy_ends_before_it_is_killed(timing: Timing) -> None:
    # Drain is a part of grace for the proxy; even if it were not, there would be time.
    assert timing.drain < timing.grace
    assert timing.drain + timing.grace < timing.stop_timeout


def test_a_rollout_is_called_failed_only_after_old_tasks_could_end_twice(timing: Timing) -> None:
    assert timing.rollout > 2 * (timing.deregistration_delay + timing.stop_timeout)


def test_the_proxy_takes_all_of_them(timing: Timing) -> None:
    told = {
        "MLFLOW_PROXY_BODY_TIMEOUT_SECONDS": timing.body_timeout,
        "MLFLOW_PROXY_UPSTREAM_TIMEOUT_SECONDS": timing.upstream_timeout,
        "MLFLOW_PROXY_KEEPALIVE_SECONDS": timing.keepalive,
        "MLFLOW_PROXY_DRAIN_SECONDS": timing.drain,
        "MLFLOW_PROXY_GRACE_SECONDS": timing.grace,
    }
    settings = Settings.from_env(
        {"MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:1", "MLFLOW_PROXY_TOKENS_FILE": "/tokens"}
        | {name: str(seconds) for name, seconds in told.items()}
    )
    assert settings.grace == timing.grace
