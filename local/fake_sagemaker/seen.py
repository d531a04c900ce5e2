"""What the fake SageMaker saw, for tests."""

import dataclasses

from multidict import CIMultiDictProxy


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """One request at MLflow's endpoint: its path and query as sent, and the status answered; 0: reset."""

    method: str
    target: str
    headers: CIMultiDictProxy[str]
    status: int
