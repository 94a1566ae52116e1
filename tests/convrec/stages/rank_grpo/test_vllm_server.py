"""A vLLM server is checked before a training, which then uses it through TRL's client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.generation import vllm_client, vllm_generation

from convrec.config import Config, Model
from convrec.errors import TrainingError
from convrec.models.load import load_checkpoint
from convrec.models.prompts import encode_prompt
from convrec.models.tiny import make_tiny
from convrec.stages.rank_grpo import make_trainer as trainers
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.stages.rank_grpo.vllm_server import check_server
from convrec.titles.index import TitleIndex
from convrec.training import launch_settings
from convrec.utils.progress import no_progress
from tests.support import trainings
from tests.support.trainings import FILMS, SAMPLES, logged_metrics
from tests.support.vllm_server import StandInServer, serve

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

NO_TRANSFER = {"vllm_config": {"model_config": {}, "weight_transfer_config": None}}
RAW = {"logprobs_mode": "raw_logprobs"}
TRANSFER = {"backend": "nccl"}


@pytest.fixture
def server(checkpoint: Path) -> Iterator[StandInServer]:
    student = load_checkpoint(checkpoint)
    with serve(StandInServer(student.tokenizer, str(checkpoint))) as running:
        yield running


def config(url: str, **rank_grpo: Any) -> Config:
    return trainings.config(
        vllm="server", vllm_url=url, sampler="free", eval_every=0, save_every=0, **rank_grpo
    )


def train(checkpoint: Path, out: Path, url: str) -> None:
    torch.set_num_threads(1)
    settings, index = config(url), TitleIndex(FILMS)
    train_rank_grpo(checkpoint, SAMPLES, index, settings, out, 5, no_progress)


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/v1/models", None, r"does not answer /v1/models as vLLM does \(404\)"),
        ("/server_info", None, r"does not answer /server_info .* VLLM_SERVER_DEV_MODE=1"),
        ("/server_info", NO_TRANSFER, r"cannot receive weights; restart it with --weight-transfer"),
        (
            "/server_info",
            {"vllm_config": {"model_config": RAW, "weight_transfer_config": TRANSFER}},
            r"rank_grpo.temperature=0.5; restart it with --logprobs-mode processed_logprobs",
        ),
        (
            "/v1/models",
            {"data": [{"id": "student", "max_model_len": 100}]},
            r"allows 100 tokens .* restart it with --max-model-len 112",
        ),
        ("/get_world_size", {"world_size": 0}, "reports 0 workers"),
    ],
)
def test_an_unusable_server_is_one_sentence(
    checkpoint: Path, server: StandInServer, path: str, answer: Any, message: str
) -> None:
    student, settings = load_checkpoint(checkpoint), config(server.url, temperature=0.5)
    assert check_server(settings, student) == "student"
    server.answers[path] = answer
    with pytest.raises(TrainingError, match=message) as raised:
        check_server(settings, student)
    assert "\n" not in str(raised.value)


def test_another_model_is_refused(checkpoint: Path, server: StandInServer, tmp_path: Path) -> None:
    student, other = load_checkpoint(checkpoint), tmp_path / "other"
    other.mkdir()
    shape = {"vocab_size": student.model.config.vocab_size, "hidden_size": 32}
    (other / "config.json").write_text(json.dumps(shape), encoding="utf-8")
    info = server.answers["/server_info"]["vllm_config"]["model_config"]
    info["model"] = str(other)
    message = "serves another model, student; start it with the checkpoint that is trained"
    with pytest.raises(TrainingError, match=message):
        check_server(config(server.url), student)
    info["model"] = "owner/elsewhere"
    assert check_server(config(server.url), student) == "student"
    server.tokenizer = make_tiny(["other texts"], Model(vocabulary=300, hidden=16), seed=0)[1]
    with pytest.raises(TrainingError, match=message):
        check_server(config(server.url), student)


def test_a_missing_server_is_one_sentence(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_settings, "find_spec", lambda name: name)
    monkeypatch.setattr(trainers, "SERVER_TIMEOUT", 0.0)
    with pytest.raises(TrainingError, match=r"no vLLM server responds at .*:9 \(ConnectError\)"):
        train(checkpoint, tmp_path / "out", "http://127.0.0.1:9")


def test_a_failed_weight_group_is_one_sentence(
    checkpoint: Path, tmp_path: Path, server: StandInServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL's client reaches the server, and refuses to send weights without a GPU."""
    _install_client(monkeypatch)
    message = r"TRL cannot use the vLLM server at .* \(NotImplementedError: Weight sync.*restart it"
    with pytest.raises(TrainingError, match=message) as raised:
        train(checkpoint, tmp_path / "out", server.url)
    assert "\n" not in str(raised.value)


def test_a_training_samples_from_the_server(
    checkpoint: Path, tmp_path: Path, server: StandInServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install_client(monkeypatch)
    sent: list[dict[str, torch.Tensor]] = []

    def update(self: Any, metadata: Any, weights: Any) -> None:
        sent.append({name: weight.clone() for name, weight in weights})

    monkeypatch.setattr(vllm_client.VLLMClient, "init_communicator", lambda self, device: None)
    monkeypatch.setattr(vllm_client.VLLMClient, "update_named_params", update)
    train(checkpoint, tmp_path / "out", server.url)
    student = load_checkpoint(checkpoint)
    tokenizer = student.tokenizer
    ours = [encode_prompt(tokenizer, sample["conversation"], 32) for sample in SAMPLES]
    assert len(server.requests) == len(sent) == 2
    for request in server.requests:
        assert all(prompt in ours for prompt in request["prompt"])
        assert (len(request["prompt"]), request["n"], request["max_tokens"]) == (2, 2, 80)
        assert request["stop_token_ids"] == [tokenizer.eos_token_id]
        assert request["temperature"] == 1.0
    assert set(sent[0]) == {name for name, _ in student.model.named_parameters()}
    assert any(not torch.equal(sent[0][name], sent[1][name]) for name in sent[0])
    lines = [line for line in logged_metrics(tmp_path / "out") if "loss" in line]
    assert [line["exact_n"] for line in lines] == [1.0, 1.0]


def _install_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let TRL's client work without the package vllm."""
    monkeypatch.setattr(launch_settings, "find_spec", lambda name: name)
    for module in (vllm_client, vllm_generation):
        monkeypatch.setattr(module, "is_vllm_available", lambda *args, **kwargs: True)
    monkeypatch.setattr(vllm_client, "get_ip", lambda: "127.0.0.1", raising=False)
