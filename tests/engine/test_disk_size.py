"""The setting database.diskGb on a running stack: neither ignored silently nor a reason to replace the database."""

from tests.doubles.provider.kinds.gcp import sql
from tests.engine import programs
from tests.engine.conftest import Start
from tests.engine.engine import Engine


def resize(engine: Engine, gigabytes: int) -> None:
    """Enlarge the disk outside of the stack, as `gcloud sql instances patch` or the automatic growth does."""
    (instance,) = [resource for resource in engine.double.cloud if resource.kind.token == sql.INSTANCE]
    settings = {**instance.inputs["settings"], "diskSize": gigabytes}
    engine.double.cloud.update(sql.INSTANCE, instance.id, {}, {**instance.inputs, "settings": settings})


def test_larger_value_gives_a_warning_until_the_disk_has_that_size(start: Start) -> None:
    engine = start(config=programs.config_of("gcp-dev"), secrets=programs.secrets_of("gcp-dev"))
    assert engine.up().ok().warnings == []
    engine.configure(programs.config_of("gcp-dev", {"database": {"diskGb": 20}}))
    preview = engine.preview().ok()
    assert preview.steps == []
    (warning,) = preview.warnings
    assert "database.diskGb: got 20, but the disk of " in warning
    assert "--storage-size=20 " in warning
    # A larger disk than configured has grown automatically.
    for gigabytes in (20, 30):
        resize(engine, gigabytes)
        engine.refresh().ok()
        run = engine.up().ok()
        assert (run.steps, run.warnings) == ([], [])
