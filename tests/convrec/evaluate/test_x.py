from pathlib import Path
from convrec.evaluate import METRICS, REPORT

def test_x(world):
    job = world.job()
    world.put("metrics", "metrics", METRICS.build(job).rows, stage="evaluate")
    with world.store.write() as c:
        c.execute("INSERT INTO llm_ledger VALUES ('a','r','recommend','demo','demo-teacher',1000,0,500,0.0,now()::TIMESTAMP)")
    job = world.job(scratch=True)
    REPORT.spec(job)
    b = REPORT.build(job)
    Path("/tmp/report.html").write_bytes((job.scratch / "report.html").read_bytes())
    print(b)
