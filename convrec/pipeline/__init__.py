"""The pipeline as a graph of steps, and what walks it without Prefect."""
