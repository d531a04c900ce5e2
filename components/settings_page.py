"""docs/aws-settings.md and docs/gcp-settings.md: every setting of a component, from the classes that check them."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from .aws.args import AwsMlflowProxyArgs
from .gcp.args import GcpMlflowArgs
from .validation import ValidatedArgs, expected, nested_model


class Row(NamedTuple):
    """A setting. ``development`` and ``production`` are its defaults; None where there is none."""

    key: str
    takes: str
    development: str | None
    production: str | None
    sentence: str


def aws_settings() -> str:
    """AWS's page."""
    return _page("AwsMlflowProxy", "aws", AwsMlflowProxyArgs, "an ARN or an id")


def gcp_settings() -> str:
    """Google Cloud's page."""
    return _page("GcpMlflow", "gcp", GcpMlflowArgs, "an image's reference or a secret")


def _page(component: str, cloud: str, model: type[ValidatedArgs], taken: str) -> str:
    return "\n".join(
        [
            f"# Settings of {component}",
            "",
            f"Written by `make docs` from `components/{cloud}/args.py`. They are one object in a stack's config,",
            f"`mlflow:{cloud}`; a setting that is not there has the default of its `environment`. From another program",
            f"they are the component's arguments, in either spelling (`logDays`, `log_days`), and where {taken}",
            "is taken, another resource's output is, too.",
            *(line for title, inner, prefix in _groups(model) for line in _section(title, inner, prefix)),
            "",
        ]
    )


def _groups(
    model: type[ValidatedArgs], name: str = "", optional: bool = False
) -> Iterator[tuple[str, type[ValidatedArgs], str]]:
    """(title, class, prefix of its keys) of each group, outermost first."""
    title = f"`{name}`{' (none, if it is not there)' if optional else ''}" if name else "The whole"
    yield title, model, f"{name}." if name else ""
    for field, info in model.model_fields.items():
        inner = nested_model(info.annotation)
        if inner is not None:
            yield from _groups(inner, f"{name}.{to_camel(field)}".lstrip("."), optional=_default(info) is None)


def _section(title: str, model: type[ValidatedArgs], prefix: str) -> list[str]:
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


def rows(model: type[ValidatedArgs], prefix: str = "") -> Iterator[Row]:
    """The settings of one group, without the groups in it."""
    for name, info in model.model_fields.items():
        if nested_model(info.annotation) is not None:
            continue
        production = model.production_defaults.get(name, _default(info))
        secret = model.config_secrets.get(name)
        yield Row(
            key=f"mlflow:{secret}" if secret else prefix + to_camel(name),
            takes="a secret of its own" if secret else expected(info),
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
    return f"| {' | '.join(' '.join(cell.split()).replace('|', '&#124;') for cell in cells)} |"


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""
