"""The initial admin token and its token document, as the program creates them."""

from datetime import datetime

import pytest

from components.aws import tokens as module
from components.aws.tokens import Tokens, first_document
from preview.recorder import record

from .helpers import make_deployment


def create_admin_token(monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return (the component's output admin_token, the token document that it stores)."""
    tokens: list[str] = []
    documents: list[str] = []

    def recording_first_document(token: str, days: int, now: datetime) -> str:
        documents.append(first_document(token, days, now))
        return documents[-1]

    monkeypatch.setattr(module, "first_document", recording_first_document)
    record(lambda: Tokens(make_deployment(), days=30).admin_token.apply(tokens.append))
    return tokens[0], documents[0]
