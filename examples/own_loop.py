"""A loop written by hand, with Shoal's batches, schedule and checkpoints: stop it anywhere, start it again, same bits.

python examples/own_loop.py                 # the whole training
python examples/own_loop.py other 100       # in the folder `other`, stopped after 100 steps
python examples/own_loop.py other           # continued from the last checkpoint
"""

import sys
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F

from shoal import checkpoints, datasets
from shoal.models import Mlp
from shoal.recipe.parts import Digits
from shoal.schedules import factors

EPOCHS = 10
LR = 0.1


def main(folder: Path = Path("own_loop"), last: int | None = None) -> None:
    """Train, or continue, up to step `last` or the end."""
    data = datasets.build(Digits())
    batches = datasets.batches(
        data.splits["train"],
        batch_size=32,
        seed=0,
        drop_last=True,
        device="cpu",
        normalisation=data.normalisation,
        training=True,
    )
    torch.manual_seed(0)
    model = Mlp(data.input_shape, data.classes, width=64, depth=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    total = EPOCHS * batches.per_epoch
    curve = factors("cosine", {"warmup_steps": 20}, first=0, last=total, total=total)
    lr = (LR * curve).tolist()

    at = datasets.START
    if saved := checkpoints.newest(folder):  # checked byte by byte; a damaged one is passed over
        model.load_state_dict(saved.states["model"])
        optimizer.load_state_dict(saved.states["optimizer"])
        at = datasets.Position(*saved.meta["position"])

    end = total if last is None else min(last, total)
    for batch in islice(batches.start(at), max(end - at.step, 0)):
        step = batch.position.step
        optimizer.param_groups[0]["lr"] = lr[step]
        loss = F.cross_entropy(model(batch.inputs), batch.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done = step + 1
        if done % 50 == 0 or done == end:
            epoch, number = divmod(done, batches.per_epoch)
            states = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            checkpoints.save(folder, done, states, {"position": [epoch, number, done]})
            checkpoints.prune(folder, keep=2)

    test = data.splits["test"]
    with torch.no_grad():
        outputs = model(data.normalisation.apply(test.inputs))
    accuracy = (outputs.argmax(1) == test.targets).float().mean().item()
    print(f"step {max(end, at.step)} of {total}: test accuracy {accuracy:.4f}, outputs sum to {outputs.sum().item()!r}")


if __name__ == "__main__":
    main(*[Path(word) for word in sys.argv[1:2]], *[int(word) for word in sys.argv[2:3]])
