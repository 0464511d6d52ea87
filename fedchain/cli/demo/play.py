"""The demonstration itself: deploy, start, watch, stop, evaluate, audit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

from rich.console import Console

from fedchain.cli.demo.actors import processes
from fedchain.cli.demo.stage import Site, Stage, build
from fedchain.cli.demo.watch import Watch
from fedchain.cli.devnet import anvil
from fedchain.cli.ledger import open_ledger
from fedchain.core.errors import ConfigError, FedchainError
from fedchain.core.formats.layout import read_layout
from fedchain.core.formats.modelfile import read_model
from fedchain.core.ledger.records import ModelPublished, Record, UpdateSubmitted
from fedchain.core.rules.judged import Decision
from fedchain.core.rules.manifest import Manifest
from fedchain.core.rules.policy import fedbuff
from fedchain.daemon.client import Daemons
from fedchain.devnet.anvil import devnet
from fedchain.store.files import FileBlobs
from fedchain.training.examples.baselines import baseline, judge_all
from fedchain.training.examples.partition import EXAMPLES, Example, Files, write_parts
from fedchain.training.task import Task, load_task
from fedchain.training.trainer import Options, Trainer

SLOW_S: Final = 1.5
"""Seconds that a training takes at the slow hospital; the others take what they take."""

CPU: Final = Options(device="cpu", threads=1)

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """What a demonstration showed."""

    folder: Path
    federation: Path
    seconds: float
    """From deployment to the audit's verdict."""
    versions: int
    """The newest version when the daemons had ended; at least as many as asked for."""
    mean_staleness: float
    """Of the merged updates."""
    gas_per_update: float
    federated: Metrics
    pooled: Metrics
    alone: dict[str, Metrics]
    audit: dict[str, Any]
    """What `fedchain audit verify --json` printed."""
    clean: bool

    def as_json(self) -> dict[str, Any]:
        """Format the result for programs."""
        return {name: _encode_number(getattr(self, name)) for name in self.__slots__}


async def play(folder: Path, name: str, *, sites: int, versions: int, seed: int, console: Console) -> Result:
    """Run the demonstration in a new folder; raises FedchainError."""
    if name not in EXAMPLES:
        raise ConfigError(f"unknown --task {name!r}; choose from {', '.join(EXAMPLES)}")
    if _in_use(folder):
        raise ConfigError(f"--folder {folder} is not empty: choose another one")
    example, started = EXAMPLES[name], monotonic()
    names = [f"hospital-{i + 1}" for i in range(sites)]
    files = write_parts(name, [folder / site for site in names], folder / "apart", seed)
    task = load_task(example.task)
    async with devnet(await anvil(), folder / "devnet") as chain:
        console.print(f"chain at {chain.url}, everything else in {folder}/")
        stage = await _set_up(folder, chain.url, example, names, seed)
        console.print(f"ledger contract {stage.file.contract}; starting {sites} hospitals and an aggregator")
        async with processes() as running, Daemons() as daemons:
            for actor in stage.actors:
                await running.start(actor)
            await Watch(stage, versions, console).until_done(daemons, running.check)
        console.print(
            "all daemons have stopped; for comparison, training each hospital alone, and on pooled data", soft_wrap=True
        )
        records, gas = await _ledger_figures(stage)
        newest = next(r.payload for r in reversed(records) if isinstance(r.payload, ModelPublished))
        federated, pooled, alone = await _compare(stage, newest, task, example, files, seed)
        console.print("auditing: recomputing every version from ledger and content")
        clean, audit = await _audit(stage)
    return Result(
        folder=folder,
        federation=stage.federation,
        seconds=monotonic() - started,
        versions=newest.version,
        mean_staleness=await _mean_staleness(stage, records),
        gas_per_update=gas,
        federated=federated,
        pooled=pooled,
        alone=alone,
        audit=audit,
        clean=clean,
    )


async def _set_up(folder: Path, rpc: str, example: Example, names: list[str], seed: int) -> Stage:
    """Set up the federation: FedBuff with room for all hospitals but one; the first is slow, the last one replays."""
    with contextlib.closing(Trainer(load_task(example.task), options=CPU)) as trainer:
        genesis = await trainer.genesis(seed)
    sites = [
        Site(
            name,
            training={"device": "cpu", "threads": 1, "seed": seed * len(names) + i}
            | ({"at_least_s": SLOW_S} if i == 0 else {}),
            settings={"data": example.file},
            node={"verify": "replay" if name == names[-1] else "head"},
        )
        for i, name in enumerate(names)
    ]
    policy = fedbuff(size=max(1, len(names) - 1), max_staleness=50)
    return await build(folder, rpc, task=example.task, policy=policy, sites=sites, genesis=genesis)


async def _compare(
    stage: Stage, newest: ModelPublished, task: Task, example: Example, files: Files, seed: int
) -> tuple[Metrics, Metrics, dict[str, Metrics]]:
    """Evaluate the federated model, one of pooled data, and one of each hospital alone, on the same hold-out."""
    buffer = FileBlobs(stage.aggregator.blobs).open(newest.model)
    arrays = read_model(read_layout(buffer), buffer)
    federated = await judge_all(task, arrays, files.holdout, CPU)

    async def trained_on(data: Path) -> Metrics:
        return await baseline(task, data, files.holdout, seed=seed, steps=example.baseline_steps, options=CPU)

    alone = {site.name: await trained_on(data) for site, data in zip(stage.sites, files.sites, strict=True)}
    return federated, await trained_on(files.pooled), alone


async def _audit(stage: Stage) -> tuple[bool, dict[str, Any]]:
    """Run the audit as a program of its own over all that is on disk; raises FedchainError when it could not check."""
    blobs = [word for actor in stage.actors for word in ("--blobs", str(actor.blobs))]
    command = ["-m", "fedchain", "audit", "verify", "--json", "--federation", str(stage.federation), *blobs]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    if process.returncode not in (0, 1):
        raise FedchainError(f"the audit could not check: exit code {process.returncode} of {' '.join(command)}")
    return process.returncode == 0, json.loads(out)


async def _ledger_figures(stage: Stage) -> tuple[Sequence[Record], float]:
    """Read the records, and say what an update costs on the chain, on average."""
    async with await open_ledger(stage.file) as ledger:
        records = await ledger.records()
        used = [await ledger.gas_used(record) for record in records if isinstance(record.payload, UpdateSubmitted)]
    return records, sum(used) / len(used)


async def _mean_staleness(stage: Stage, records: Sequence[Record]) -> float:
    """Return the mean of τ over all merged updates, as the manifests state it (the audit checks them)."""
    store = FileBlobs(stage.aggregator.blobs)
    staleness: list[int] = []
    for claim in (record.payload for record in records if isinstance(record.payload, ModelPublished)):
        manifest = Manifest.parse(store.open(claim.manifest).read(0, claim.manifest.size))
        staleness += [line.staleness or 0 for line in manifest.updates if line.decision is Decision.MERGED]
    return sum(staleness) / len(staleness)


def _encode_number(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _in_use(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())
