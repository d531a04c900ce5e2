"""Google's regions, and App Engine's names for them.

https://cloud.google.com/about/locations; App Engine is not everywhere, and calls two regions by older names.
"""

import re

REGION = re.compile(r"[a-z]+-[a-z]+\d+")
# Cloud Storage's multi- and dual-regions. https://cloud.google.com/storage/docs/locations
WIDE = frozenset({"ASIA", "EU", "US", "ASIA1", "EUR4", "EUR5", "EUR7", "EUR8", "NAM4"})
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
_OLDER = {"europe-west1": "europe-west", "us-central1": "us-central"}


def app_engine_location(region: str) -> str | None:
    """What App Engine calls a region; None where it is not."""
    location = _OLDER.get(region, region)
    return location if location in APP_ENGINE and region not in _OLDER.values() else None


def region_of(location: str) -> str:
    """The region of one of App Engine's locations."""
    return next((region for region, older in _OLDER.items() if older == location), location)
