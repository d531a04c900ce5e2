"""The benchmark of transfers measures all ways and stops its servers."""

import os

import pytest

from bench import transfers
from bench.machine import BenchmarkError, find, tree
from tests.doubles.object_stores import NEEDS_VERSITYGW


@pytest.mark.timeout(120)
def test_transfers_are_measured_in_all_ways(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not find("versitygw"):
        pytest.skip(NEEDS_VERSITYGW)
    # The benchmark sets variables of MLflow's client.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    before = set(tree(os.getpid()))
    figures = transfers.run(transfers.Plan(size=16, rounds=1))["transfers"]
    assert [(row["way"], row["direction"]) for row in figures] == [
        (way, direction) for way in ("boto3, direct", "proxy", "presigned") for direction in ("up", "down")
    ]
    for row in figures:
        assert min(row["seconds"]) > 0
        assert row["above_mib"] < 64
    assert "speed / direct" in capsys.readouterr().out
    assert set(tree(os.getpid())) <= before


def _find_nothing(_: str) -> None:
    return None


def test_missing_versitygw_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.machine.find", _find_nothing)
    with pytest.raises(BenchmarkError, match=r"go install .*versitygw"):
        transfers.run(transfers.Plan())
