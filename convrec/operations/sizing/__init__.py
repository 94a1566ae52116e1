"""Plan a training for GPUs that are not present: memory by part, batch, steps and hours.

`docs/internals/scale.md` has the formula, its assumptions, and planned compared with measured
memory (`benchmarks/plan_memory.py`).
"""
