"""Sample lists with vLLM, in a process that returns its memory when it ends.

    python -P vllm_process.py REQUEST RESULT

reads prompts and settings from the JSON file REQUEST, and writes the token ids of each list to
RESULT, a list of lists. It imports vLLM only, so any environment with vLLM can run it. Started as
the leader of a process group, it ends with all processes of vLLM when its parent ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

CHUNK = 2048
"""Lists between two reports of progress."""

PROGRESS_PREFIX = "@convrec "
"""As in `convrec.training.worker`."""


def main(request_file: Path, result_file: Path) -> None:
    """Answer a request.

    Its keys: `engine` (arguments of `vllm.LLM`), `sampling` (arguments of all lists), `prompts`
    (token ids), and `seeds`, one for each list of a prompt.
    """
    vllm: Any = import_module("vllm")
    request: dict[str, Any] = json.loads(request_file.read_text(encoding="utf-8"))
    engine = vllm.LLM(skip_tokenizer_init=True, generation_config="vllm", **request["engine"])
    lists: list[list[int]] = []
    total = len(request["prompts"])
    for start in range(0, total, CHUNK):
        stop = min(start + CHUNK, total)
        prompts = [{"prompt_token_ids": ids} for ids in request["prompts"][start:stop]]
        settings = [
            vllm.SamplingParams(seed=seed, detokenize=False, **request["sampling"])
            for seed in request["seeds"][start:stop]
        ]
        outputs = engine.generate(prompts, settings, use_tqdm=False)
        lists += [list(output.outputs[0].token_ids) for output in outputs]
        print(PROGRESS_PREFIX + json.dumps([stop, total, "lists sampled"]), flush=True)
    result_file.write_text(json.dumps(lists), encoding="utf-8")


def end_with_parent() -> None:
    """Kill this process group once the parent of this process has ended."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    main(Path(sys.argv[1]), Path(sys.argv[2]))
