"""Two networks that train each other, in a loop that is no recipe's: a GAN that learns a ring.

python examples/gan.py
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

import shoal

CONFIG = {"name": "ring", "seed": 0, "lr": 2e-3, "width": 64, "steps": 2000, "batch_size": 128, "log_every": 500}


def network(inputs, width, outputs):
    """Three layers."""
    layers = [nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)]
    return nn.Sequential(*layers)


def ring(count):
    """Points on a circle, with noise, drawn anew at every step."""
    angle = 2 * math.pi * torch.rand(count)
    return torch.stack([angle.cos(), angle.sin()], dim=1) + 0.05 * torch.randn(count, 2)


def main():
    """Train both networks in turns; what is drawn at a step is a function of the seed and the step."""
    size = CONFIG["batch_size"]
    with shoal.open_run(CONFIG, exclude=["log_every"]) as run:
        generator, critic = network(8, CONFIG["width"], 2), network(2, CONFIG["width"], 1)
        adams = [torch.optim.Adam(net.parameters(), lr=CONFIG["lr"], betas=(0.5, 0.9)) for net in (generator, critic)]
        run.register(generator=generator, critic=critic, adam_generator=adams[0], adam_critic=adams[1])
        for step in run.steps(CONFIG["steps"]):
            fake = generator(torch.randn(size, 8))
            loss_critic = F.softplus(-critic(ring(size))).mean() + F.softplus(critic(fake.detach())).mean()
            loss_generator = F.softplus(-critic(fake)).mean()
            for net, optimizer, loss in zip((generator, critic), adams, (loss_generator, loss_critic), strict=True):
                gradients = torch.autograd.grad(loss, list(net.parameters()))
                for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                    parameter.grad = gradient
                optimizer.step()
            run.average({"generator": loss_generator, "critic": loss_critic})
            if (step + 1) % CONFIG["log_every"] == 0:
                with torch.no_grad():
                    radius = generator(torch.randn(1000, 8)).norm(dim=1)
                run.log({"valid.radius": radius.mean(), "valid.deviation": radius.std()})
    print(f"{run.label}: radius {run.metrics['valid.radius']:.2f} +- {run.metrics['valid.deviation']:.2f}")


if __name__ == "__main__":
    main()
