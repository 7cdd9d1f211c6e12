"""Critical path: training FLOPs one after the other, where jobs run on several nodes at once."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoal.formats.ledger import training_flops

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from shoal.formats.documents.judgement import CriticalPath
    from shoal.formats.documents.ledger import LedgerRecord

NODES = (1, 8, None)
"""Numbers of nodes that are looked at; None: as many as there are jobs."""

_OF_ASSIGN = ("embedding", "assignment")
"""Parts of the router's ledger that are the FLOPs of ``assign``, all shards together."""


@dataclass(frozen=True)
class Work:
    """A job.

    Attributes:
        flops: FLOPs of the job itself.
        after: Names of the jobs that it waits for, each before it.
    """

    flops: float
    after: Sequence[str] = ()


def span(jobs: Mapping[str, Work], nodes: int | None) -> float:
    """FLOPs until the last job ends, each node computing alike and one job at a time.

    A node that is free takes, of the jobs that may begin, the one with the longest chain ahead.

    Args:
        jobs: The jobs by name, each after those that it waits for.
        nodes: How many there are; None: one per job, which gives the longest chain.

    Source:
        List scheduling by critical path, Graham 1969: at most twice the shortest span.
    """
    followers: dict[str, list[str]] = {name: [] for name in jobs}
    for name, job in jobs.items():
        for before in job.after:
            followers[before].append(name)
    ahead: dict[str, float] = {}
    for name in reversed(list(jobs)):
        ahead[name] = jobs[name].flops + max((ahead[n] for n in followers[name]), default=0.0)
    waits = {name: len(job.after) for name, job in jobs.items()}
    ready = [(-ahead[name], name) for name in jobs if not waits[name]]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and (nodes is None or len(running) < nodes):
            name = heapq.heappop(ready)[1]
            heapq.heappush(running, (now + jobs[name].flops, name))
        now, done = heapq.heappop(running)
        for name in followers[done]:
            waits[name] -= 1
            if not waits[name]:
                heapq.heappush(ready, (-ahead[name], name))
    return now


def critical_path(
    ledgers: Mapping[Path, LedgerRecord],
    generalist: LedgerRecord,
    compared: LedgerRecord,
    shards: int,
    *,
    holds_generalist: bool,
) -> CriticalPath:
    """Critical paths of the pool before its gate, as it is shipped, and of the generalist.

    Args:
        ledgers: Those of the pool's making by path, the gate's among them. A specialist's lies in
            ``DIGEST/STEP/SLOT/``, a choice in ``DIGEST/STEP/``.
        generalist: The pool's own generalist's.
        compared: That of the generalist that the pool is compared with.
        shards: How many shards are assigned.
        holds_generalist: Whether the shipped pool does.
    """
    base = training_flops([each for each in ledgers.values() if each["job"] == "base_fit"])
    whole = pool_jobs(ledgers, shards)
    ungated = {name: job for name, job in whole.items() if name != "gate"}
    if holds_generalist:
        rest = Work(generalist["flops"] - base, ["base_fit"])
        gate = whole["gate"]
        whole = {
            **ungated,
            "generalist": rest,
            "gate": Work(gate.flops, [*gate.after, "generalist"]),
        }
    alone = {"generalist": Work(compared["flops"])}
    return {
        "nodes": list(NODES),
        "ungated": [span(ungated, nodes) for nodes in NODES],
        "pool": [span(whole, nodes) for nodes in NODES],
        "generalist": [span(alone, nodes) for nodes in NODES],
    }


def pool_jobs(ledgers: Mapping[Path, LedgerRecord], shards: int) -> dict[str, Work]:
    """The jobs of a pool's making that compute, in order; see :func:`critical_path`."""
    by_job: dict[str, list[tuple[Path, LedgerRecord]]] = {}
    for path, ledger in ledgers.items():
        by_job.setdefault(ledger["job"], []).append((path, ledger))

    def one(job: str) -> float:
        return training_flops([ledger for _, ledger in by_job.get(job, [])])

    ((_, routing),) = by_job["train_router"]
    assign = sum(routing.get("detail", {}).get(part, 0.0) for part in _OF_ASSIGN)
    ((_, clustering),) = by_job["cluster_fit"]
    made_from = clustering.get("made_from", {"files": {}})["files"]
    probed = any(name.endswith("/base.safetensors") for name in made_from)
    jobs = {
        "base_fit": Work(one("base_fit")),
        "embed_fit": Work(one("embed_fit")),
        "cluster_fit": Work(one("cluster_fit"), ["embed_fit", *(["base_fit"] if probed else [])]),
    }
    assigned = [f"assign {number}" for number in range(shards)]
    jobs |= {name: Work(assign / shards, ["cluster_fit"]) for name in assigned}
    jobs["partition"] = Work(0.0, assigned)
    steps: dict[tuple[str, int], list[tuple[Path, LedgerRecord]]] = {}
    for path, ledger in by_job.get("train_specialist", []):
        steps.setdefault((path.parts[-4], int(path.parts[-3])), []).append((path, ledger))
    choices = {
        (path.parts[-3], int(path.parts[-2])): ledger
        for path, ledger in by_job.get("train_choose", [])
    }
    for digest, step in sorted(choices, key=lambda each: each[1]):
        before = [f"choose {digest} {step - 1}"] if step else ["base_fit", "partition"]
        slots = steps.get((digest, step), [])
        names = [f"train {path.parent}" for path, _ in slots]
        jobs |= {
            name: Work(ledger["flops"], before)
            for name, (_, ledger) in zip(names, slots, strict=True)
        }
        jobs[f"choose {digest} {step}"] = Work(choices[digest, step]["flops"], names or before)
    chosen = [name for name in jobs if name.startswith("choose ")]
    jobs["train_router"] = Work(one("train_router") - assign, chosen or ["base_fit", "partition"])
    jobs["gate"] = Work(one("gate"), ["train_router"])
    return jobs
