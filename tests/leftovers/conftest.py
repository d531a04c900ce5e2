from tests.preflight.conftest import make, moto

__all__ = ["make", "moto"]
