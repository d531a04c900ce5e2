"""Google's regions, and App Engine's names for them.

https://cloud.google.com/about/locations; App Engine is not everywhere, and calls two regions by older names.
"""

import difflib
from collections.abc import Collection

# https://cloud.google.com/sql/docs/mysql/region-availability-overview, read in November 2026: Cloud SQL is in all.
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


def near(place: str, known: Collection[str]) -> list[str]:
    """Places of that continent, or whatever is spelt alike."""
    here = [one for one in sorted(known) if one.split("-")[0] == place.split("-")[0]]
    return difflib.get_close_matches(place, here or sorted(known), n=8, cutoff=0)


def region_of(location: str) -> str:
    """The region of one of App Engine's locations."""
    return next((region for region, older in _OLDER.items() if older == location), location)
