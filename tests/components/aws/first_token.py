"""The first admin token and its document, as the program makes them."""

from datetime import datetime

import pytest

from components.aws import tokens as module
from components.aws.tokens import Tokens, first_document
from preview.recorder import record

from .boxes import a_place


def made(monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """(the token that the component hands out, the document that it stores)."""
    tokens: list[str] = []
    documents: list[str] = []

    def noted(token: str, days: int, now: datetime) -> str:
        documents.append(first_document(token, days, now))
        return documents[-1]

    monkeypatch.setattr(module, "first_document", noted)
    record(lambda: Tokens(a_place(), days=30).admin_token.apply(tokens.append))
    return tokens[0], documents[0]
