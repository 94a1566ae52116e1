from __future__ import annotations

from pathlib import Path

import yaml

from convrec.config import load
from flows.ablate_sft_data import ablate_sft_data
from flows.build_sft_data import build_sft_data
from flows.evaluate import evaluate
from flows.pipeline import pipeline
from flows.train import train

ROOT = Path(__file__).resolve().parents[2]
FLOWS = {flow.name: flow for flow in (pipeline, build_sft_data, ablate_sft_data, train, evaluate)}


def deployments() -> list[dict[str, object]]:
    found: list[dict[str, object]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())[
        "deployments"
    ]
    return found


def test_every_deployment_of_the_design_is_there() -> None:
    names = set()
    for entry in deployments():
        module, _, function = str(entry["entrypoint"]).partition(":")
        flow = next(f for f in FLOWS.values() if f.fn.__name__ == function)
        assert (ROOT / module).is_file()
        names.add(f"{flow.name}/{entry['name']}")
    assert names == {
        "pipeline/demo",
        "pipeline/reddit-v2",
        "build-sft-data/reddit-v2",
        "build-sft-data/on-catalog-change",
        "train/reddit-v2",
        "evaluate/reddit-v2",
        "ablate-sft-data/reddit-v2",
    }


def test_deployed_parameters_are_accepted() -> None:
    for entry in deployments():
        function = str(entry["entrypoint"]).partition(":")[2]
        flow = next(f for f in FLOWS.values() if f.fn.__name__ == function)
        parameters = entry["parameters"]
        assert isinstance(parameters, dict)
        flow.validate_parameters(parameters)
        load(parameters["profile"])


def test_the_form_of_every_flow_explains_its_parameters() -> None:
    for flow in FLOWS.values():
        properties = flow.parameters.model_dump()["properties"]
        assert {"profile", "overrides", "refresh"} <= set(properties)
        assert all(field["description"] for field in properties.values())
        assert "rank_grpo" in str(properties["refresh"]["anyOf"])
