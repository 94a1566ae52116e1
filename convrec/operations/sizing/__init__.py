"""Plan a training for GPUs that are not present: memory by part, batch, steps and hours.

The model is built without weights (torch's fake tensors), so a plan for 7B takes seconds.
`docs/internals/scale.md` has the formula, its assumptions, and planned compared with measured
memory (`benchmarks/plan_memory.py`). Importing this package does not import torch.
"""
