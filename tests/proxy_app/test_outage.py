"""The log of a problem that lasts."""

import logging

import pytest

from proxy_app.outage import Outage


def test_problem_is_logged_every_minute_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    outage = Outage(logging.getLogger("test"), "tokens", lambda: now)
    outage.succeeded("fine")
    for _ in range(3 * 60):
        outage.failed("broken")
        now += 1
    assert outage.failures == 180
    outage.failed("broken otherwise")
    outage.succeeded("fine again")
    outage.succeeded("fine again")
    assert outage.failures == 0
    outage.failed("broken otherwise")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        *[("ERROR", "broken")] * 3,
        ("ERROR", "broken otherwise"),
        ("INFO", "fine again"),
        ("ERROR", "broken otherwise"),
    ]
    assert {record.__dict__["event"] for record in caplog.records} == {"tokens"}
