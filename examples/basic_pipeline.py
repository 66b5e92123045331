"""A training loop without a framework, made safe: named by its config, logged, killed and resumed with the same bits.

python examples/basic_pipeline.py                      # train
python examples/basic_pipeline.py --lr 0.01 --seed 1   # another run; typed again, it prints its result
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

import shoal
from shoal import datasets
from shoal.recipe.parts import Digits

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--batch_size", type=int, default=32)
parser.add_argument("--width", type=int, default=64)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--seed", type=int, default=0)


def do_epoch(run, label, model, batches, optimizer=None):
    """Run a single epoch, in training, or in evaluation where `optimizer` is None."""
    for inputs, targets in batches:
        prediction = model(inputs)
        loss = F.cross_entropy(prediction, targets)
        accuracy = (prediction.argmax(dim=1) == targets).float().mean()
        run.average({f"{label}.loss": loss, f"{label}.accuracy": accuracy}, weight=len(targets))
        if optimizer is not None:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()


def main():
    """Train, go on, or read what came out."""
    config = parser.parse_args()
    data = datasets.build(Digits())
    digits = {
        name: (data.normalisation.apply(split.inputs), split.targets.long()) for name, split in data.splits.items()
    }
    with shoal.open_run(config) as run:
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, config.width), nn.ReLU(), nn.Linear(config.width, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=config.lr, momentum=0.9)
        run.register(model=model, optimizer=optimizer)
        for _ in run.epochs(config.epochs):
            do_epoch(run, "train", model, run.batches(*digits["train"], batch_size=config.batch_size), optimizer)
            with torch.no_grad():
                do_epoch(run, "test", model, [digits["test"]])
            run.log()
    print(f"{run.label}: test accuracy {run.metrics['test.accuracy']:.2%}")


if __name__ == "__main__":
    main()
