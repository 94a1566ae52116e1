"""The memory of a training by part, estimated from the model's shape.

`docs/internals/scale.md` has the formula, its assumptions, and planned compared with measured
memory (`benchmarks/plan_memory.py`).
"""
