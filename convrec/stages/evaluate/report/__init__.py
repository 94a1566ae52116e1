"""The HTML report, its Markdown summary for the Prefect UI, and the model card."""
