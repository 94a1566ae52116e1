"""The report tells where a training can be watched, and links web addresses only."""

from __future__ import annotations

import polars as pl

from convrec.stages.evaluate import REPORT
from tests.support.evaluated_run import EvaluatedRun

CURVES = pl.DataFrame({"step": [1, 2], "name": ["loss", "loss"], "value": [2.0, 1.0]})
URL = "http://127.0.0.1:5000/#/experiments/1/runs/2"


def test_the_places_of_a_training_are_shown(evaluated_run: EvaluatedRun) -> None:
    figures = {
        "steps": 2,
        "tracking_mlflow": URL,
        "tracking_tensorboard": "tensorboard --logdir '/a <b>'",
        "tracking_wandb": "javascript:alert(1)",
    }
    row = (".", "tiny", 12, "{}")
    evaluated_run.put(
        "checkpoint_sft", "checkpoint", [row], stage="sft", curves=CURVES, figures=figures
    )
    evaluated_run.put_metrics()
    ctx = evaluated_run.ctx(scratch=True)
    REPORT.build(ctx)
    assert ctx.scratch is not None
    page = (ctx.scratch / "report.html").read_text(encoding="utf-8")
    assert f'<p>Reported to mlflow: <a href="{URL}">{URL}</a></p>' in page
    assert "tensorboard: <code>tensorboard --logdir &#39;/a &lt;b&gt;&#39;</code>" in page
    assert "wandb: <code>javascript:alert(1)</code>" in page
    assert page.count("Reported to") == 3
