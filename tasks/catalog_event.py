"""Tells Prefect that a catalog has a new version, so that deployments can act on it."""

from __future__ import annotations

from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.events import Event, Resource
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from convrec.artifacts import Store
from convrec.catalog.publish import Publication, mark_announced

EVENT = "catalog.changed"
LOCAL_URL = "http://127.0.0.1:4200/api"
"""Where `make ui` serves; tried where PREFECT_API_URL is not set."""


def announce(published: Publication, store: Store) -> str:
    """Send the event about a version; why it could not be sent, or an empty string.

    The event `catalog.changed` of resource `catalog.NAME` carries name, version, the profiles that
    take the catalog, and how many items changed in which way.
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
    mark_announced(store, version)
    return ""


def _send(events: list[dict[str, Any]]) -> str:
    """Post events; unlike `emit_event` this says whether a server took them."""
    url = get_current_settings().api.url or LOCAL_URL
    with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        try:
            answer = client.request("POST", "/events", json=events)
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            return f"the Prefect server at {url} refused the event ({error.response.status_code})"
        except (httpx.HTTPError, RuntimeError) as error:
            return f"no Prefect server answers at {url} ({type(error).__name__})"
    return ""
