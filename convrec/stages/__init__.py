"""The eight stages of the pipeline, one package each; `base` defines what a step is."""
