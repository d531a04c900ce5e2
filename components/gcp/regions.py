"""Google Cloud regions and App Engine's names for them.

https://cloud.google.com/about/locations; App Engine is available in some regions only, and names two of them
differently.
"""

import difflib
from collections.abc import Collection

# Cloud SQL is available in all of them: https://cloud.google.com/sql/docs/mysql/region-availability-overview, read in
# November 2026.
REGIONS = frozenset(
    {
        "africa-south1",
        "asia-east1",
        "asia-east2",
        "asia-northeast1",
        "asia-northeast2",
        "asia-northeast3",
        "asia-south1",
        "asia-south2",
        "asia-southeast1",
        "asia-southeast2",
        "asia-southeast3",
        "australia-southeast1",
        "australia-southeast2",
        "europe-central2",
        "europe-north1",
        "europe-north2",
        "europe-southwest1",
        "europe-west1",
        "europe-west2",
        "europe-west3",
        "europe-west4",
        "europe-west6",
        "europe-west8",
        "europe-west9",
        "europe-west10",
        "europe-west12",
        "me-central1",
        "me-central2",
        "me-west1",
        "northamerica-northeast1",
        "northamerica-northeast2",
        "northamerica-south1",
        "southamerica-east1",
        "southamerica-west1",
        "us-central1",
        "us-central2",
        "us-east1",
        "us-east4",
        "us-east5",
        "us-south1",
        "us-west1",
        "us-west2",
        "us-west3",
        "us-west4",
    }
)
# Multi-regions and dual-regions of Cloud Storage. https://cloud.google.com/storage/docs/locations
MULTI_REGIONS = frozenset({"ASIA", "EU", "US", "ASIA1", "EUR4", "EUR5", "EUR7", "EUR8", "NAM4"})
# https://cloud.google.com/appengine/docs/flexible/locations
APP_ENGINE = frozenset(
    {
        "asia-east1",
        "asia-east2",
        "asia-northeast1",
        "asia-northeast2",
        "asia-northeast3",
        "asia-south1",
        "asia-southeast1",
        "asia-southeast2",
        "australia-southeast1",
        "europe-central2",
        "europe-west",
        "europe-west2",
        "europe-west3",
        "europe-west6",
        "northamerica-northeast1",
        "southamerica-east1",
        "us-central",
        "us-east1",
        "us-east4",
        "us-west1",
        "us-west2",
        "us-west3",
        "us-west4",
    }
)
_APP_ENGINE_NAMES = {"europe-west1": "europe-west", "us-central1": "us-central"}


def app_engine_location(region: str) -> str | None:
    """App Engine's name of a region; None if App Engine is not available there."""
    location = _APP_ENGINE_NAMES.get(region, region)
    return location if location in APP_ENGINE and region not in _APP_ENGINE_NAMES.values() else None


def suggestions(region: str, known: Collection[str]) -> list[str]:
    """Up to 8 known regions for an error message: those of the same continent, most similar first."""
    continent = [name for name in sorted(known) if name.split("-")[0] == region.split("-")[0]]
    return difflib.get_close_matches(region, continent or sorted(known), n=8, cutoff=0)


def region_of(location: str) -> str:
    """The region of an App Engine location."""
    return next((region for region, name in _APP_ENGINE_NAMES.items() if name == location), location)
