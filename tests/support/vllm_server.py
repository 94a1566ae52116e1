"""An HTTP stand-in for `vllm serve`, with the endpoints that TRL's client and our checks call."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.json_server import serve_json
from tests.support.trainings import FILMS


class StandInServer:
    """Answers with lists of films; `answers` may replace the answer of a path, None is a 404."""

    def __init__(self, tokenizer: Any, model: str) -> None:
        self.tokenizer = tokenizer
        self.requests: list[dict[str, Any]] = []
        self.url = ""
        settings = {"logprobs_mode": "processed_logprobs", "model": model}
        transfer = {"backend": "nccl"}
        info = {"vllm_config": {"model_config": settings, "weight_transfer_config": transfer}}
        self.answers: dict[str, Any] = {
            "/health": {},
            "/v1/models": {"data": [{"id": "student", "max_model_len": 112}]},
            "/server_info": info,
            "/get_world_size": {"world_size": 1},
            "/start_weight_update": {},
            "/finish_weight_update": {},
            "/reset_prefix_cache": {"success": True},
        }

    def answer(self, path: str, body: dict[str, Any] | None) -> Any:
        """The JSON answer to a request; None if there is no such endpoint."""
        if path == "/tokenize" and body is not None:
            return {"tokens": self.tokenizer.encode(body["prompt"], add_special_tokens=False)}
        if path != "/v1/completions" or body is None:
            return self.answers.get(path)
        self.requests.append(body)
        choices = []
        for prompt in body["prompt"]:
            for copy in range(body["n"]):
                draw = random.Random(f"{prompt} {copy} {len(self.requests)}")
                lines = [f"{title} ({year})" for _, title, year in draw.sample(FILMS, 3)]
                ids = self.tokenizer.encode("\n".join(lines))
                ids = [*ids, self.tokenizer.eos_token_id]
                logprobs = {
                    "tokens": [f"token_id:{token}" for token in ids],
                    "token_logprobs": [-1.0] * len(ids),
                    "top_logprobs": [{f"token_id:{token}": -1.0} for token in ids],
                }
                choices.append({"prompt_token_ids": prompt, "token_ids": ids, "logprobs": logprobs})
        return {"choices": choices}


@contextmanager
def serve(server: StandInServer) -> Iterator[StandInServer]:
    """Serve on a free port of this machine."""
    with serve_json(server.answer) as server.url:
        yield server
