"""docs/operate.md: error codes, metrics and alarm thresholds match the code."""

import re
from pathlib import Path

from components.aws.settings import ServiceSettings
from components.aws.timing import Timing
from proxy_app.settings import Settings
from tests.doubles.mlflow_defaults import default_of

from ..components.aws.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate.md").read_text()
SOURCE = "\n".join(path.read_text() for path in (ROOT / "proxy_app").rglob("*.py"))
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
COMPARISONS = {"<": "LessThanThreshold", ">": "GreaterThanThreshold"}


def section(title: str) -> str:
    """Return a section of the page, without its heading."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_error_codes_match_the_code() -> None:
    listed = {
        code
        for cell in re.findall(r"^\| (?:\d{3}|as returned by AWS) \| ([^|]+) \|", section("Errors"), re.MULTILINE)
        for code in re.findall(r"`([a-z-]+)`", cell)
    }
    assert len(listed) > 30
    assert {code for code in listed if f'"{code}"' not in SOURCE} == set()
    in_code = set(re.findall(r'reason="([a-z-]+)"', SOURCE))
    assert in_code - set(re.findall(r"`([a-z-]+)`", PAGE)) == set()


def test_timeouts_are_the_defaults() -> None:
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \|", section("Timeouts"), re.MULTILINE)
    listed = {limit.rpartition(": ")[2]: int(seconds) for limit, seconds in rows}
    proxy, service = Settings(), ServiceSettings()
    timing = Timing(
        upstream_timeout=service.upstream_timeout_seconds, long_upstream_timeout=service.long_upstream_timeout_seconds
    )
    assert listed == {
        "MLflow's Python client": default_of("MLFLOW_HTTP_REQUEST_TIMEOUT"),
        "the load balancer on AWS": timing.idle_timeout,
        "App Engine": 3600,
        "pauses in bodies of clients": proxy.body_timeout,
        "MLflow's response": proxy.upstream_timeout,
        "artifacts and model calls": proxy.long_upstream_timeout,
        "a model's response": default_of("MLFLOW_GATEWAY_ROUTE_TIMEOUT_SECONDS"),
    }


def test_metrics_match_the_code() -> None:
    listed = {name.removesuffix("_total") for name in re.findall(r"`(mlflow_proxy_\w+)", section("Metrics"))}
    in_code = {name.removesuffix("_total") for name in re.findall(r'"(mlflow_proxy_\w+)"', SOURCE)}
    assert listed == in_code


def test_alarm_table_matches_the_stack() -> None:
    """Names, thresholds and periods are those of the production stack, which has those of development."""
    development, production = (
        next(scenario for scenario in SCENARIOS if scenario.name == name).graph().of(ALARM)
        for name in ("development", "production")
    )
    rows = re.findall(
        r"^\| ([a-z-]+) \| [^|]+ \| ([<>]) (\d+) \| (\d+) of (\d+) s \|", section("Alarms on AWS"), re.MULTILINE
    )
    listed = {
        name: (COMPARISONS[comparison], int(threshold), int(periods), int(seconds))
        for name, comparison, threshold, periods, seconds in rows
    }
    expected = {
        alarm.name.removeprefix("mlflow-alarm-"): tuple(
            alarm.inputs[key] for key in ("comparisonOperator", "threshold", "evaluationPeriods", "period")
        )
        for alarm in production
    }
    assert listed == expected
    assert f"has {len(development)} alarms, with HTTPS and WAF {len(production)}" in section("Alarms on AWS")
