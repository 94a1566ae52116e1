"""The checkpoints to compare, and the nodes that make their test lists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from convrec.artifacts import ArtifactRef, Store
from convrec.errors import InputError
from convrec.pipeline.graph import Node
from convrec.stages.evaluate import FREE_GENERATIONS, GENERATIONS, SERVED_GENERATIONS
from convrec.stages.evaluate.systems import MODELS, SYSTEMS

Form = Literal["sampled", "free", "served"]
"""How lists are made: by `evaluate.sampler`, without a sampler, or as `convrec recommend` does."""

FORMS: tuple[Form, ...] = get_args(Form)
_OTHERS = set(SYSTEMS) - set(MODELS)
"""Systems without a checkpoint, which have rows of their own."""

_STEPS = {"sampled": GENERATIONS, "free": FREE_GENERATIONS, "served": SERVED_GENERATIONS}


@dataclass(frozen=True)
class Contender:
    """One checkpoint: the system that it is a seed of, its seed, and how its lists are made."""

    system: str
    seed: str
    checkpoint: ArtifactRef
    form: Form = "sampled"

    @property
    def row(self) -> str:
        """The system with the form of its lists, such as `rank_grpo served`."""
        return self.system if self.form == "sampled" else f"{self.system} {self.form}"

    @property
    def role(self) -> str:
        """The role under which the comparison reads the lists."""
        return f"{self.row}, seed {self.seed}"

    def generations_node(self) -> Node:
        """The pipeline's own node for these lists; equal lists are cached under the same id."""
        reads = {"conversations": "conversations", "checkpoint": self.checkpoint.artifact_id}
        name = f"generations_{self.form}_{self.checkpoint.artifact_id}".replace("-", "_")
        return Node(name, _STEPS[self.form], reads)


def find_contenders(
    store: Store, systems: Mapping[str, Sequence[str]], forms: Mapping[Form, Iterable[str]]
) -> list[Contender]:
    """Find the checkpoints of each system; `forms` names the systems with further lists.

    Raises InputError for a checkpoint that is not stored, a system without one, or a name that is
    taken.
    """
    for name in (name for names in forms.values() for name in names):
        if name not in systems:
            raise InputError(f"{name} has no checkpoint; choose from {', '.join(systems)}")
    found = []
    for system, artifact_ids in systems.items():
        if system in _OTHERS or "," in system:
            raise InputError(f"a system cannot be called {system}; choose a name of your own")
        refs = [_find_checkpoint(store, artifact_id) for artifact_id in artifact_ids]
        for ref, seed in zip(refs, _seeds(store, refs), strict=True):
            found.append(Contender(system, seed, ref))
            found += [
                Contender(system, seed, ref, form) for form in FORMS[1:] if system in forms[form]
            ]
    return found


def _find_checkpoint(store: Store, artifact_id: str) -> ArtifactRef:
    ref = store.find(artifact_id)
    if ref is None or ref.kind != "checkpoint":
        raise InputError(
            f"{artifact_id} is no checkpoint of this warehouse; list them with "
            "`convrec artifacts list --kind checkpoint`"
        )
    return ref


def _seeds(store: Store, refs: Sequence[ArtifactRef]) -> list[str]:
    """The seeds of training, or the ends of the ids where two checkpoints share a seed."""
    manifests = [json.loads(store.read(ref.artifact_id)["manifest"][0]) for ref in refs]
    seeds = [str(manifest.get("seed", "")) for manifest in manifests]
    is_clear = all(seeds) and len(set(seeds)) == len(seeds)
    return seeds if is_clear else [ref.artifact_id[-6:] for ref in refs]
