"""Reports trainings to trackers such as TensorBoard, with the integrations of transformers."""
