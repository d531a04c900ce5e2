"""The gate in front of SageMaker's stand-in and a real MLflow."""

from collections.abc import AsyncGenerator

import pytest_asyncio

from local.standin import StandIn
from tests.doubles.fixtures import SigningGate
from tests.doubles.gate_process import GateProcess


@pytest_asyncio.fixture
async def gate(standin: StandIn, signing_gate: SigningGate) -> AsyncGenerator[GateProcess]:
    """A gate that signs for the stand-in of a tracking server."""
    async with signing_gate(standin) as gate:
        yield gate
