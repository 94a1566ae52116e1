"""One HTTP request to an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from convrec.llm.endpoint import is_loopback, public_url
from convrec.llm.outcome import Failure, Success, connection_failure, mask_key, status_failure
from convrec.llm.parameters import accepted_parameters
from convrec.llm.requests import Request, route
from convrec.llm.response_body import parse_response


class EndpointClient:
    """Sends requests to one endpoint, one attempt each.

    `on_headers` is called with the headers of every response. `run` is the run that remembers which
    parameters the models of the endpoint do not accept.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        timeout: float,
        on_headers: Callable[[Mapping[str, str]], object],
        run: str = "",
    ) -> None:
        import openai

        self.url = public_url(base_url)
        self._key, self._run = key, run
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
        """Send the request and check that the response is complete.

        The request's body is sent as it is, but for `stream: false` and for parameters that the
        model was found not to accept. One that is refused now is left out at once.
        """
        accepted = accepted_parameters(self._run, self.url, request.model)
        while True:
            body = accepted.sent_body(request.body)
            outcome = await self._post(request, body)
            name = outcome.parameter if isinstance(outcome, Failure) else ""
            if not name or not accepted.leave_out(name, body):
                return outcome

    async def _post(self, request: Request, body: Mapping[str, Any]) -> Success | Failure:
        """Send a body for a request, once.

        The header `X-Client-Request-Id` carries the request key, so that requests can be matched
        with the endpoint's logs.
        """
        import openai

        headers = {"X-Stainless-Raw-Response": "true", "X-Client-Request-Id": request.key}
        try:
            async with asyncio.timeout(self._timeout):
                raw: Any = await self._client.post(
                    route(body),
                    body=body,
                    cast_to=str,
                    options={"headers": headers},
                )
        except (openai.APITimeoutError, TimeoutError):
            return Failure("transient", f"no answer within {self._timeout:g} s")
        except openai.APIConnectionError as error:
            return connection_failure(self.url, error)
        except openai.APIStatusError as error:
            self._on_headers(error.response.headers)
            return _redirect_failure(error.response) or status_failure(
                self.url, self._key, error, body
            )
        self._on_headers(raw.headers)
        if failure := _redirect_failure(raw.http_response):
            return failure
        text, kind = mask_key(raw.text, self._key), raw.headers.get("content-type", "")
        return parse_response(text, body, kind.lower(), url=self.url, key=self._key)


def _redirect_failure(response: Any) -> Failure | None:
    """What a redirect means that asked for a page (GET) in place of sending the request on."""
    if not response.history or response.request.method == "POST":
        return None
    reason = (
        f"a redirect to {public_url(str(response.url))}. If that is the endpoint's own address, "
        "correct llm.base_url"
    )
    return Failure("transient", reason, malformed=True)
