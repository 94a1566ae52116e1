"""Folds for cross-fitting: what is fitted on the other folds has not seen the own one."""

from __future__ import annotations

import hashlib


def fold_of(name: str, folds: int) -> int:
    """The fold of a group, from 1 to `folds`: by a hash of its name, whatever the other groups."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % folds + 1


def fold_item_id(fold: int, item_id: str) -> str:
    """The name of an item's parameters of one fold among rows of items; fold 0: the item itself."""
    return f"fold {fold}: {item_id}" if fold else item_id
