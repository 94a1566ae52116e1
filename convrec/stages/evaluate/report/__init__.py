"""The HTML report, its markdown summary for the Prefect UI, and the model card."""
