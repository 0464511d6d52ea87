"""A site of the simulated federation: its task and its node."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from fedchain.core.ledger.records import Record, UpdateSubmitted
from fedchain.core.ports import Clock, Journal, Training
from fedchain.core.rules.policy import Policy, fedbuff
from fedchain.daemon.service import Pace
from fedchain.node.journal import SqliteJournal
from fedchain.node.node import Node
from fedchain.node.options import NodeOptions
from fedchain.simulation.clock import inline
from fedchain.simulation.federation import Simulation
from fedchain.training.task import Fit, Run
from fedchain.training.trainer import Options, Trainer

EAGER: Final = Pace(retry_s=0.02, retry_cap_s=0.02, idle_s=0.02)
"""Look around more often than a daemon that runs for years."""


class Small:
    """A task whose model is the simulation's; training adds a little that depends on the seed."""

    def model(self) -> torch.nn.Module:
        model = torch.nn.Module()
        model.weight = torch.nn.Parameter(torch.linspace(-1, 1, 12))
        model.bias = torch.nn.Parameter(torch.zeros(3))
        model.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        model.register_buffer("mask", torch.ones(5, dtype=torch.uint8))
        return model

    def train(self, model: torch.nn.Module, run: Run) -> Fit:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.001 * (run.seed % 100))
        return Fit(100, {"seed": run.seed})

    def evaluate(self, model: torch.nn.Module, run: Run) -> dict[str, float]:
        return {"bias": float(model.get_parameter("bias")[0])}


def roomy(updates: int = 3) -> Policy:
    """Take so many updates of each site into a buffer that does not close."""
    return fedbuff(size=100, per_site=updates)


class Site:
    """The first site of a simulation, with all that a node needs."""

    def __init__(self, folder: Path, simulation: Simulation, number: int = 0) -> None:
        self.folder = folder
        self.simulation = simulation
        self.member = simulation.site(number)
        self.ledger = simulation.ledger_of(self.member)

    @property
    def journal(self) -> Path:
        return self.folder / f"{self.member}.sqlite"

    def node(
        self,
        task: Small | None = None,
        options: NodeOptions | None = None,
        *,
        training: Training | None = None,
        journal: Journal | None = None,
        clock: Clock | None = None,
        pace: Pace = EAGER,
    ) -> Node:
        """Make a node, as a start of the daemon does."""
        return Node(
            self.member,
            self.ledger,
            self.simulation.network.store(self.member),
            training=training or Trainer(task or Small(), options=Options(device="cpu", threads=1)),
            journal=journal or SqliteJournal(self.journal),
            clock=clock or self.simulation.clock,
            offload=inline,
            options=options or NodeOptions(),
            pace=pace,
        )

    @property
    def submitted(self) -> list[Record]:
        """This site's updates on the ledger."""
        return self.simulation.records_of(UpdateSubmitted, self.member)
