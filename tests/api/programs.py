"""Programs that train by hand, for what `open_run` promises: each is a loop of another shape, and draws random numbers.

`hook` is called in the midst of every pass, and after the loops.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import shoal
from shoal.assembly.opened import OpenRun

Hook = Callable[[OpenRun], object]
REAL = torch.randn(40, 2, generator=torch.Generator().manual_seed(1)) + 3
LABELS = (REAL[:, 0] > REAL[:, 1]).long()


def nothing(run: OpenRun) -> None:
    """Do nothing."""


def opened(runs: Path, program: str, **how: Any) -> Any:
    config = {"name": program, "lr": 1e-2, "seed": 3}
    return shoal.open_run(config, program=program, runs=runs, **{"checkpoint_every": 1, "quiet": True, **how})


def noise() -> float:
    """A number from each of the global generators."""
    return random.random() + np.random.rand() + torch.rand(()).item()


def gan(runs: Path, hook: Hook = nothing, **how: Any) -> OpenRun:
    """Epochs of batches, two networks, dropout, a best value, averages."""
    with opened(runs, "gan", **how) as run:
        generator = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        critic = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
        adams = [torch.optim.Adam(network.parameters(), lr=run.config["lr"]) for network in (generator, critic)]
        best = {"distance": float("inf")}
        run.register(generator=generator, critic=critic, adam_g=adams[0], adam_c=adams[1], best=best)
        for _ in run.epochs(2):
            for real in run.batches(REAL, batch_size=16):
                fake = generator(torch.randn(len(real), 4))
                loss_c = F.softplus(-critic(real)).mean() + F.softplus(critic(fake.detach())).mean()
                loss_g = F.softplus(-critic(fake)).mean()
                for optimizer, loss in zip(adams, (loss_g, loss_c), strict=True):
                    optimizer.zero_grad()
                    loss.backward(retain_graph=optimizer is adams[0])
                hook(run)
                for optimizer in adams:
                    optimizer.step()
                run.average({"loss_g": loss_g, "loss_c": loss_c}, weight=len(real))
            distance = (generator(torch.randn(64, 4)).mean(0) - 3).norm().item() + noise()
            best["distance"] = min(best["distance"], distance)
            run.log({"valid.distance": distance})
            hook(run)
        run.result({"test.distance": best["distance"] + noise()})
        hook(run)
    return run


def bandit(runs: Path, hook: Hook = nothing, **how: Any) -> OpenRun:
    """Steps without epochs, left by break; state in a tensor, an array, a deque and generators of its own."""
    with opened(runs, "bandit", **how) as run:
        value, pulls, recent = torch.zeros(3), np.zeros(3), deque[float](maxlen=4)
        own, others, third = torch.Generator().manual_seed(5), np.random.default_rng(5), random.Random(5)
        run.register(value=value, pulls=pulls, recent=recent, own=own, others=others, third=third)
        run.log({"valid.reward": noise()})
        for step in run.steps():
            arm = int(torch.randint(3, (), generator=own)) if others.random() < 0.5 else int(value.argmax())
            reward = arm + third.gauss(0, 1) + noise()
            pulls[arm] += 1
            hook(run)
            value[arm] += (reward - value[arm]) / pulls[arm]
            recent.append(reward)
            run.average({"reward": reward})
            if step % 3 == 2:
                run.log({"lr": 0.1})
            if step == 7:
                break
        run.log({"test.reward": float(value.max()) + sum(recent) + noise()})
        hook(run)
    return run


def stages(runs: Path, hook: Hook = nothing, **how: Any) -> OpenRun:
    """A loop of epochs with batches of its own, then one over arrays, what is in between drawing and logging."""
    with opened(runs, "stages", **how) as run:
        model = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=run.config["lr"], momentum=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        run.register(model=model, optimizer=optimizer, schedule=schedule)

        def update(x: torch.Tensor, y: torch.Tensor) -> None:
            loss = F.cross_entropy(model(x + 0.1 * torch.randn_like(x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.average({"loss": loss}, weight=len(x))

        for _ in run.epochs(3):
            for x, y in DataLoader(TensorDataset(REAL, LABELS), batch_size=20, shuffle=True):
                update(x, y)
                hook(run)
            schedule.step()
            run.log({"valid.noise": noise()})
        with torch.no_grad():
            model.weight.add_(torch.randn_like(model.weight))
        run.log({"valid.between": noise()})
        late = nn.Linear(2, 2)
        run.register(late=late)
        for x, y in run.batches(REAL, LABELS, batch_size=16, epochs=2, drop_last=True):
            update(late(x).detach(), y)
            late.weight.data += 0.1
            hook(run)
        run.log({"test.noise": noise()})
    return run


PROGRAMS: dict[str, Callable[..., OpenRun]] = {"gan": gan, "bandit": bandit, "stages": stages}
