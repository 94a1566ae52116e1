"""What `convrec train check` says of processes, trackers and attention."""

from __future__ import annotations

import pytest

from convrec.config import load
from convrec.errors import ConfigError
from convrec.operations.sizing.finding import REFUSED
from convrec.operations.sizing.preflight import check_training, refuse_impossible


def test_processes_without_a_launcher_are_refused() -> None:
    config = load("demo", {"train.processes": 8})
    for check in (check_training, lambda config: refuse_impossible(config, ["sft"])):
        with pytest.raises(ConfigError, match=r"train\.processes=8 needs train\.launcher=acc"):
            check(config)
    refuse_impossible(load("demo", {"train.processes": 1}), ["sft"])


def test_sharding_without_a_launcher_is_refused() -> None:
    config = load("demo", {"train.parallel": "fsdp"})
    with pytest.raises(
        ConfigError, match=r"^train\.parallel=fsdp needs train\.launcher=accelerate"
    ):
        refuse_impossible(config, ["rank_grpo"])
    refuse_impossible(config, ["ingest"])
    refuse_impossible(load("demo", {"train.parallel": "ddp"}), ["sft"])


def test_rows_that_processes_do_not_share_evenly() -> None:
    launch = {"train.launcher": "accelerate", "train.processes": 8}
    findings = check_training(load("demo", {**launch, "sft.batch_size": 12}))
    texts = [finding.text for finding in findings if finding.part == "sft"]
    assert "12 rows per step, up to 2 in each of 8 processes, as many at once" in texts[0]


@pytest.mark.parametrize("name", ["all", "none"])
def test_all_and_none_are_not_packages(name: str) -> None:
    findings = check_training(load("demo", {"train.report_to": name}))
    assert [finding for finding in findings if finding.part == "tracking"] == []


def test_an_unknown_attention_is_refused() -> None:
    findings = check_training(load("demo", {"train.attn_implementation": "nonsense"}))
    texts = [finding.text for finding in findings if finding.state == REFUSED]
    assert "does not know train.attn_implementation=nonsense; set it to sdpa" in "".join(texts)
