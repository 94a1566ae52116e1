"""The job templates, checked with the workers of prefect-kubernetes and prefect-aws.

    pip install prefect-kubernetes prefect-aws && pytest tests/flows/test_work_pool_workers.py

Neither package is in an extra. A flow run is prepared as a worker does, and what it would send is
checked against the models of the Kubernetes API (kubernetes-asyncio) and of ECS (botocore). Nothing
is sent.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from tests.support.deploy_files import read_job_template

RUN = FlowRun(id=uuid4(), flow_id=uuid4(), name="brave-otter")
COMMON = {"image": "registry.example.com/convrec:0.2.0", "env": {"OMP_NUM_THREADS": "4"}}
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:convrec"
ECS = {
    **COMMON,
    "cluster": "convrec",
    "execution_role_arn": "arn:aws:iam::123456789012:role/execution",
    "task_role_arn": "arn:aws:iam::123456789012:role/task",
    "file_system": "fs-12345678",
    "api_key_secret_arn": ARN,
    "warehouse_secret_arn": ARN,
}


def prepare(configuration: Any, pool: str, values: dict[str, Any]) -> Any:
    """The configuration of a flow run, from the job template and its variables."""
    template = read_job_template(pool)
    prepared = asyncio.run(configuration.from_template_and_values(template, values))
    prepared.prepare_for_flow_run(RUN)
    return prepared


def check(value: Any, kind: str, models: Any, where: str = "") -> None:
    """Check that the API's model `kind` has every key, and that plain values have its types."""
    if kind.startswith("list["):
        for entry in value:
            check(entry, kind[5:-1], models, where)
    elif kind.startswith("dict("):
        for key, entry in value.items():
            check(entry, kind[5:-1].split(", ")[1], models, f"{where}.{key}")
    elif kind in ("str", "int", "bool"):
        quantity = ".resources." in where and isinstance(value, int)  # a text or a number
        assert quantity or type(value).__name__ == kind, f"{where}: {value!r}"
    elif hasattr(models, kind):
        model = getattr(models, kind)
        types = {model.attribute_map[name]: of for name, of in model.openapi_types.items()}
        assert set(value) <= set(types), f"{where} of {kind}: {set(value) - set(types)}"
        for key, entry in value.items():
            check(entry, types[key], models, f"{where}.{key}")


@pytest.mark.parametrize("gpus", [0, 2])
def test_a_kubernetes_job_fits_the_api(gpus: int) -> None:
    worker = pytest.importorskip("prefect_kubernetes.worker")
    models = pytest.importorskip("kubernetes_asyncio.client.models")
    values = {**COMMON, "gpus": gpus, "labels": {"team": "films"}}
    manifest = prepare(worker.KubernetesWorkerJobConfiguration, "kubernetes", values).job_manifest
    pod = manifest["spec"]["template"]["spec"]
    # The worker requires these two fields of a job in the pod; the API ignores them.
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)
    check(manifest, "V1Job", models)
    container = pod["containers"][0]
    assert {"name": "OMP_NUM_THREADS", "value": "4"} in container["env"]
    assert container["image"] == COMMON["image"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == gpus
    assert manifest["metadata"]["labels"]["team"] == "films"


@pytest.mark.parametrize("launch", ["FARGATE", "EC2"])
def test_an_ecs_task_fits_the_api(launch: str, monkeypatch: Any) -> None:
    worker = pytest.importorskip("prefect_aws.workers.ecs_worker")
    session = pytest.importorskip("botocore.session").Session()
    validate = pytest.importorskip("botocore.validate").ParamValidator().validate
    configuration = prepare(worker.ECSJobConfiguration, "ecs", {**ECS, "launch_type": launch})
    api = session.get_service_model("ecs")
    ecs = object.__new__(worker.ECSWorker)
    ecs._logger = logging.getLogger(__name__)
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}}
    monkeypatch.setattr(ecs, "_load_network_configuration", lambda *_: network)
    task = ecs._prepare_task_definition(configuration, region="us-east-1", flow_run=RUN)
    request = ecs._prepare_task_run_request(
        configuration, task, "arn", new_task_definition_registered=True
    )
    for operation, sent in (("RegisterTaskDefinition", task), ("RunTask", request)):
        report = validate(sent, api.operation_model(operation).input_shape)
        assert not report.has_errors(), report.generate_report()
    assert task["containerDefinitions"][0]["image"] == COMMON["image"]
    assert request["launchType"] == launch
    assert {"name": "OMP_NUM_THREADS", "value": "4"} in request["overrides"]["containerOverrides"][
        0
    ]["environment"]
