"""Announces a new catalog version to Prefect, so that deployments can act on it."""

from __future__ import annotations

from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.events import Event, Resource
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from convrec.artifacts import Store
from convrec.catalog.publish import Publication, record_announcement

EVENT = "catalog.changed"
LOCAL_URL = "http://127.0.0.1:4200/api"
"""The server of `make ui`, used if PREFECT_API_URL is not set."""


def announce(published: Publication, store: Store) -> str:
    """Send the event about a version. Returns why it could not be sent, or an empty string.

    The event `catalog.changed` of resource `catalog.NAME` carries name, version, the profiles that
    use the catalog, and the number of items by kind of change.
    """
    version = published.version
    event = Event(
        event=EVENT,
        resource=Resource.model_validate(
            {
                "prefect.resource.id": f"catalog.{version.name}",
                "prefect.resource.name": version.name,
            }
        ),
        payload={
            "name": version.name,
            "version": version.version,
            "profiles": published.profiles,
            "items": version.items,
            **published.counts,
        },
    )
    if problem := _send([event.model_dump(mode="json")]):
        return problem
    record_announcement(store, version)
    return ""


def _send(events: list[dict[str, Any]]) -> str:
    """Post events; unlike `emit_event` this reports whether a server accepted them."""
    url = get_current_settings().api.url or LOCAL_URL
    with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        try:
            response = client.request("POST", "/events", json=events)
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            return f"the Prefect server at {url} refused the event ({error.response.status_code})"
        except (httpx.HTTPError, RuntimeError) as error:
            return f"no Prefect server answers at {url} ({type(error).__name__})"
    return ""
