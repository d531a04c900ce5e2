"""APIs that Google refuses for some minutes after they have been enabled."""

import asyncio

import pulumi
import pytest

from components.gcp import apis
from tests.doubles.provider.kinds.gcp.project import api_disabled
from tests.engine import account, programs
from tests.engine.conftest import Start

SOURCE = "components/gcp/apis.py"
PAUSE = "_RETRY_SECONDS = 30.0"


def test_first_up_waits_for_apis_that_are_not_in_effect_yet(start: Start) -> None:
    engine = start(config=programs.config_of("gcp-dev"), secrets=programs.secrets_of("gcp-dev"))
    source = engine.folder / SOURCE
    text = source.read_text(encoding="utf-8")
    assert PAUSE in text
    source.write_text(text.replace(PAUSE, "_RETRY_SECONDS = 0.2"), encoding="utf-8")
    cloud = engine.double.cloud
    cloud.refusals_of_new_apis = 3
    engine.up().ok()
    refused = {api.partition(".")[0] for api, left in cloud.refusals.items() if left == 0}
    assert refused >= {"appengine", "appengineflex", "artifactregistry", "secretmanager", "sqladmin"}
    # The others have no resources.
    assert set(cloud.refusals.values()) == {0, cloud.refusals_of_new_apis}
    assert account.duplicates(engine) == {}
    assert account.orphans(engine) == []


@pytest.mark.parametrize(
    ("error", "is_retried"),
    [
        (api_disabled("sqladmin.googleapis.com"), True),
        ("googleapi: Error 403: The caller does not have permission, forbidden", False),
    ],
)
def test_only_a_disabled_api_is_retried_and_not_for_ever(
    error: str, is_retried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    attempts = 1

    def next_is_retried() -> bool:
        args = pulumi.ErrorHookArgs("urn", "", "name", "type", failed_operation="create", errors=[error] * attempts)
        return asyncio.run(apis.retry_until_in_effect(args))

    while next_is_retried():
        attempts += 1
        assert attempts < 100
    # Google says that it takes a few minutes.
    assert 240 <= sum(waits) <= 600 if is_retried else waits == []
