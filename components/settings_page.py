"""docs/aws-settings.md: every setting of a component, from the classes that check them."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from .aws.args import AwsMlflowProxyArgs
from .checked import Checked, allowed, model_in

# Fields that are no part of the object: each is a config secret of its own.
_SECRETS = {"sso_client_secret": "mlflow:awsSsoClientSecret"}


class Row(NamedTuple):
    """A setting. ``development`` and ``production`` are its defaults; None where there is none."""

    key: str
    takes: str
    development: str | None
    production: str | None
    sentence: str


def aws_settings() -> str:
    """The page."""
    return "\n".join(
        [
            "# Settings of AwsMlflowProxy",
            "",
            "Written by `make docs` from `components/aws/args.py`. The settings are one object in a stack's config,",
            "`mlflow:aws`; one that is not there has the default of its `environment`. From another program they are",
            "the component's arguments, in either spelling (`vpcId`, `vpc_id`), and where an ARN or an id is taken,",
            "another resource's output is, too.",
            *(line for title, model, prefix in _groups(AwsMlflowProxyArgs) for line in _section(title, model, prefix)),
            "",
        ]
    )


def _groups(model: type[Checked], name: str = "", optional: bool = False) -> Iterator[tuple[str, type[Checked], str]]:
    """(title, class, prefix of its keys) of each group, outermost first."""
    title = f"`{name}`{' (none, if it is not there)' if optional else ''}" if name else "The whole"
    yield title, model, f"{name}." if name else ""
    for field, info in model.model_fields.items():
        inner = model_in(info.annotation)
        if inner is not None:
            yield from _groups(inner, f"{name}.{to_camel(field)}".lstrip("."), optional=_default(info) is None)


def _section(title: str, model: type[Checked], prefix: str) -> list[str]:
    return [
        "",
        f"## {title}",
        "",
        model.__doc__ or "",
        "",
        "| setting | takes | default | in production | |",
        "|---|---|---|---|---|",
        *(_line(row) for row in rows(model, prefix)),
    ]


def rows(model: type[Checked], prefix: str = "") -> Iterator[Row]:
    """The settings of one group, without the groups in it."""
    for name, info in model.model_fields.items():
        if model_in(info.annotation) is not None:
            continue
        production = model.in_production.get(name, _default(info))
        yield Row(
            key=_SECRETS.get(name, prefix + to_camel(name)),
            takes="a secret of its own" if name in _SECRETS else allowed(info),
            development=None if info.is_required() else _shown(_default(info)),
            production=None if info.is_required() else _shown(production),
            sentence=info.description or "",
        )


def _default(info: FieldInfo) -> Any:
    return None if info.is_required() else info.get_default(call_default_factory=True)


def _shown(value: Any) -> str:
    return "" if value is None or value in ([], {}) else value if isinstance(value, str) else json.dumps(value)


def _line(row: Row) -> str:
    cells = (
        f"`{row.key}`",
        row.takes,
        "it has to be given" if row.development is None else _code(row.development),
        _code(row.production) if row.production != row.development else "",
        row.sentence,
    )
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""
