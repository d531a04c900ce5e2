"""Invalid arguments of AwsMlflowProxy, whatever they are, raise SettingsError only."""

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from components import SettingsError
from components.aws.settings import AwsMlflowProxySettings
from components.validation import validate_args

from .arbitrary_values import arbitrary_values
from .test_config import CERTIFICATE, OIDC


@hypothesis_settings(max_examples=200)
@given(arbitrary_values)
def test_arbitrary_arguments_raise_nothing_but_settings_error(value: Any) -> None:
    with contextlib.suppress(SettingsError):
        validate_args(AwsMlflowProxySettings, value, "proxy", production=True)


@hypothesis_settings(max_examples=300)
@given(st.data())
def test_one_arbitrary_value_in_valid_settings_raises_nothing_but_settings_error(data: st.DataObject) -> None:
    settings: dict[str, Any] = {
        "environment": "production",
        "network": {"egress": "nat", "cidr": "10.0.0.0/16", "existingEndpoints": ["s3"]},
        "tracking": {"kind": "server", "maintenanceWindow": "Tue:03:30", "artifactPrefix": "a"},
        "image": {"architecture": "amd64"},
        "service": {"instanceType": "t3.small", "minTasks": 2},
        "loadBalancer": {"certificateArn": CERTIFICATE, "allowedCidrs": ["10.0.0.0/8"], "oidc": dict(OIDC)},
        "access": {"roles": {"admin": ["group:a"]}},
        "monitoring": {"alarmEmail": "a@example.com"},
        "oidc_client_secret": "x",
    }
    group = settings
    while True:
        name = data.draw(st.sampled_from(sorted(group)))
        if not isinstance(group[name], dict) or data.draw(st.booleans()):
            group[name] = data.draw(arbitrary_values)
            break
        group = group[name]
    with contextlib.suppress(SettingsError):
        validate_args(AwsMlflowProxySettings, settings, "proxy", production=True)
