"""One HTTP request to an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from convrec.llm.endpoint import is_loopback, public_url
from convrec.llm.outcome import Failure, Success, connection_failure, mask_key, status_failure
from convrec.llm.requests import Request, route
from convrec.llm.response_body import parse_response


class EndpointClient:
    """Sends requests to one endpoint, one attempt each.

    `on_headers` is called with the headers of every response.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        timeout: float,
        on_headers: Callable[[Mapping[str, str]], object],
    ) -> None:
        import openai

        self.url = public_url(base_url)
        self._key = key
        self._timeout = timeout
        self._on_headers = on_headers
        local = openai.DefaultAsyncHttpxClient(trust_env=False) if is_loopback(base_url) else None
        self._client = openai.AsyncOpenAI(
            api_key=key, base_url=base_url, timeout=timeout, max_retries=0, http_client=local
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def send(self, request: Request) -> Success | Failure:
        """Send the request's body unchanged and check that the response is complete.

        The header `X-Client-Request-Id` carries the request key, so that requests can be matched
        with the endpoint's logs.
        """
        import openai

        headers = {"X-Stainless-Raw-Response": "true", "X-Client-Request-Id": request.key}
        try:
            async with asyncio.timeout(self._timeout):
                raw: Any = await self._client.post(
                    route(request.body),
                    body=dict(request.body),
                    cast_to=str,
                    options={"headers": headers},
                )
        except (openai.APITimeoutError, TimeoutError):
            return Failure("transient", f"no answer within {self._timeout:g} s")
        except openai.APIConnectionError as error:
            return connection_failure(self.url, error)
        except openai.APIStatusError as error:
            self._on_headers(error.response.headers)
            return status_failure(self.url, self._key, error, request.body)
        self._on_headers(raw.headers)
        return parse_response(mask_key(raw.text, self._key), request.body)
