"""Checks of a base model before anything is trained or paid for."""

from convrec.models.checks.base_model import check_base_model, check_folder

__all__ = ["check_base_model", "check_folder"]
