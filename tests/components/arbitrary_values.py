"""Values that no setting expects, or that some settings do, for property-based tests."""

from typing import Any

from hypothesis import strategies as st

from components.aws.load_balancer_settings import LoadBalancerSettings
from components.aws.settings import AwsMlflowProxySettings


def names_of(model: Any) -> list[str]:
    nested = [getattr(field.annotation, "model_fields", {}) for field in model.model_fields.values()]
    return [*model.model_fields, *(name for fields in nested for name in fields)]


arbitrary_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["a" * 300, "s3"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=9)
            | st.sampled_from([*names_of(AwsMlflowProxySettings), *names_of(LoadBalancerSettings), "oidc", "0"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
