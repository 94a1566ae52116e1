from __future__ import annotations


def test_x(world):
    from convrec.evaluate import METRICS, metrics_json

    job = world.job()
    spec = METRICS.spec(job)
    b = METRICS.build(job)
    print(b.rows, b.figures)
    import json
    print(json.dumps(metrics_json(b.rows), indent=1))
