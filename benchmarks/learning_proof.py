"""Compare trained checkpoints of one data set with what needs no training.

    python benchmarks/learning_proof.py PROFILE --system NAME=ID[,ID...] ... [--versus NAME ...]
        [--free NAME ...] [--served NAME ...] [--home FOLDER] [--markdown FILE] [--json FILE]
        [--set section.key=value ...]

NAME is a system, such as `sft` or `rank_grpo`, and its IDs are checkpoints of the warehouse, one a
seed of training. Samples the test lists that the warehouse does not have, with the settings of the
profile (`evaluate.sampler`), and scores them together with popularity, kNN and the lists of the
data stages (teacher, remapped, adjusted) that are stored. --free and --served name systems that
also get rows without a sampler, and rows of what `convrec recommend` writes.

Prints markdown tables: metrics, paired differences from the systems of --versus, and both by how
often training answers name the wanted item. Intervals resample dialogues where the data has them.
A row without a seed is the mean over seeds. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convrec.config import parse_overrides

VERSUS = ("popularity", "knn", "teacher", "sft")
"""Systems to compare with by default, if they have lists."""


def systems_of(texts: Sequence[str]) -> dict[str, list[str]]:
    """Checkpoint ids by system, from texts like `sft=checkpoint-1,checkpoint-2`."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, _, ids = text.partition("=")
        if not name or not ids:
            raise SystemExit(f"--system {text!r}: write NAME=ID[,ID...]")
        found.setdefault(name, []).extend(ids.split(","))
    return found


def compare(
    profile: str,
    overrides: Mapping[str, Any],
    systems: Mapping[str, Sequence[str]],
    forms: Mapping[Any, Sequence[str]],
    versus: Sequence[str],
) -> tuple[str, dict[str, Any]]:
    """Make what is missing, and return the tables as markdown and as JSON."""
    from prefect import flow

    from convrec.pipeline.experiments.checkpoints import find_contenders, scores_node
    from convrec.pipeline.experiments.checkpoints.tables import scores_json, scores_markdown
    from tasks.node_tasks import artifact_task
    from tasks.run import Run
    from tasks.stages import run_stage

    @flow(name="learning-proof")
    def learning_proof() -> tuple[str, dict[str, Any]]:
        with Run(profile, overrides) as run:
            run_stage(run, "ingest")
            run.take_stored("recommend", "remap", "reflect", "adjust")
            contenders = find_contenders(run.store, systems, forms)
            for contender in contenders:
                run.refs[contender.checkpoint.artifact_id] = contender.checkpoint
                lists = contender.generations_node()
                run.make(lists, artifact_task(lists))
            node = scores_node(contenders, versus)
            run.make(node, artifact_task(node))
            name = run.refs[node.name].artifact_id
            metrics, figures = run.store.read(name), run.store.header(name).figures
        checkpoints = {system: list(ids) for system, ids in systems.items()}
        found = {"profile": profile, "checkpoints": checkpoints, "metrics": name}
        return scores_markdown(metrics, figures), {**found, **scores_json(metrics, figures)}

    return learning_proof()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile")
    parser.add_argument(
        "--system", action="append", default=[], metavar="NAME=ID[,ID...]", required=True
    )
    parser.add_argument("--versus", nargs="+", default=VERSUS, metavar="NAME")
    parser.add_argument("--free", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--served", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--home", type=Path, help="The warehouse. Default: as convrec's commands.")
    parser.add_argument("--markdown", type=Path, help="File to write the tables to.")
    parser.add_argument("--json", type=Path, help="File to write all figures to.")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options = parser.parse_args()
    if options.home:
        os.environ["CONVREC_HOME"] = str(options.home.resolve())
    from flows.cli import environment

    environment()
    tables, found = compare(
        options.profile,
        parse_overrides(options.set),
        systems_of(options.system),
        {"free": options.free, "served": options.served},
        options.versus,
    )
    print(tables)
    if options.markdown:
        options.markdown.write_text(f"{tables}\n", encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
