"""A machine without Docker: the error of `up` names the remedy, and the next `up` continues."""

from tests.engine import programs
from tests.engine.conftest import Start


def test_missing_builder_is_an_error_with_the_remedy(start: Start) -> None:
    engine = start(config=programs.config_of("gcp-dev"), secrets=programs.secrets_of("gcp-dev"))
    engine.double.cloud.has_builder = False
    failed = engine.up()
    assert failed.code != 0
    errors = "\n".join(failed.errors)
    assert "Start Docker" in errors
    assert "image.imageUri" in errors
    assert "failed to initialize builder" in errors
    engine.double.cloud.has_builder = True
    engine.up().ok()
