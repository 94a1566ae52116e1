"""What a training takes on GPUs that are not here: memory by part, batch, steps, hours.

The model is laid out without its weights (torch's fake tensors, on the meta device), so a plan for
7B takes seconds. `docs/scale.md` has the formula, its assumptions, and measured beside planned
memory (`benchmarks/plan_memory.py`). Importing this package imports no torch.
"""
