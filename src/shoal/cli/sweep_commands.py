"""Commands about sweeps: what may be said, and which function does it. `app` has those about single runs."""

from __future__ import annotations

from pathlib import Path

import click

from shoal.cli import options
from shoal.cli.app import app


@app.command(cls=options.Gathering, short_help="Train a grid of runs on this machine.")
@click.argument("words", nargs=-1, metavar="[GRID.py | PRESET] [KEY=V1,V2]...")
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Each point with the seeds 0 to N-1.")
@click.option("--zip", "zipped", multiple=True, metavar="KEY=V1,V2...", help="Axes that move together; repeatable.")
@click.option(
    "--if", "conditional", multiple=True, metavar="CONDITION KEY=V1,V2...", help="Axes where it holds; repeatable."
)
@click.option("--without", multiple=True, metavar="CONDITION...", help="No points where all of these hold; repeatable.")
@click.option("--plan", is_flag=True, help="Only say what would start, continue, be kept, and how long it takes.")
@click.option("--name", metavar="NAME", help="What it is called; else by its file, or by what varies.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Only points like this: 'lr=0.1'; '!lr=0.1' others.")
@click.option("--status", multiple=True, metavar="STATUS", help="Only points with this status; repeatable.")
@click.option("--retry", is_flag=True, help="Also those that failed.")
@click.option("--again", is_flag=True, help="Train all of them anew; runs that are there are set aside, not deleted.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Runs at once; else one a core, or a GPU.")
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Of each worker."
)
@click.option("--detach", is_flag=True, help="Go on in the background; 'shoal attach NAME' shows it.")
@click.option("--sort", metavar="KEY", help="The table by a metric, step, epoch or rate; -KEY is from high to low.")
@click.option("--metrics", default="", metavar="A,B", help="The metrics to show, such as test.loss,valid.loss.")
@click.option("--each", is_flag=True, help="A row for each run, although there are several seeds.")
@click.option("--config-dir", type=click.Path(path_type=Path), metavar="DIR", help="A folder with presets of your own.")
@options.modules
@options.runs
@options.json
def sweep(
    words: tuple[str, ...],
    *,
    seeds: int | None,
    zipped: tuple[str, ...],
    conditional: tuple[str, ...],
    without: tuple[str, ...],
    plan: bool,
    name: str | None,
    only: tuple[str, ...],
    status: tuple[str, ...],
    retry: bool,
    again: bool,
    workers: int | None,
    threads: int,
    detach: bool,
    sort: str | None,
    metrics: str,
    each: bool,
    config_dir: Path | None,
    modules: tuple[str, ...],
    runs: Path,
    json: bool,
) -> int:
    """Train a grid of runs: what is missing of it. Finished runs are kept, stopped and killed ones continue.

    Values are 1,2,3 or log:1e-4:1:16 or lin:0:0.5:6. GRID.py is a Python file with a function grid() that yields
    overrides; GRID.py:NAME names another. Killed or stopped, the same command does what is left.

    \b
      shoal sweep optimizer.lr=log:1e-3:1:7 model.width=32,64 --seeds 5
      shoal sweep digits_mlp --zip model.width=32,128 optimizer.lr=0.1,0.03
      shoal sweep optimizer=sgd,adamw --if optimizer=sgd optimizer.momentum=0,0.9
      shoal sweep grid.py --plan

    Exit codes: 0 all are finished, 1 some failed, 2 bad input, 75 stopped and resumable.
    """
    from shoal.cli.signals import resumable  # noqa: PLC0415 none but the command that is called

    with resumable():
        from shoal.cli import sweep as command  # noqa: PLC0415
        from shoal.pages.sweep_table import Look  # noqa: PLC0415
        from shoal.sweeps.planning import Choice  # noqa: PLC0415

        split = options.Gathering.split
        asked = command.Asked(
            words, split(zipped), split(conditional), split(without), seeds=seeds, name=name, config_dir=config_dir
        )
        shown = tuple(metric.strip() for metric in metrics.split(",") if metric.strip())
        how = command.How(
            plan=plan,
            workers=workers,
            threads=threads,
            choice=Choice(only, status, retry, again),
            look=Look(sort, shown, by_run=each),
            modules=modules,
            detach=detach,
            json=json,
        )
        return command.run(asked, how, runs=runs)


@app.command(short_help="Show a sweep or a run that is being trained, as it goes.")
@click.argument("name", required=False, metavar="[SWEEP | RUN]")
@click.option("--sort", metavar="KEY", help="The table by a metric, step, epoch or rate; -KEY is from high to low.")
@click.option("--metrics", default="", metavar="A,B", help="The metrics to show, such as test.loss,valid.loss.")
@click.option("--each", is_flag=True, help="A row for each run, although there are several seeds.")
@click.option("--trim", is_flag=True, help="Every run's metrics at the epoch that the slowest one has reached.")
@click.option("--once", is_flag=True, help="Show it once and end.")
@options.runs
def attach(name: str | None, *, sort: str | None, metrics: str, each: bool, trim: bool, once: bool, runs: Path) -> int:
    """Show the table of a sweep as it goes, or what a run says. Ctrl-C ends the showing, not the training.

    Without a name it is the sweep that is being trained, or the last one.

    \b
      shoal attach
      shoal attach digits_mlp-lr-width --sort valid.loss
    """
    from shoal.cli import attach as command  # noqa: PLC0415 none but the command that is called
    from shoal.pages.sweep_table import Look  # noqa: PLC0415

    shown = tuple(metric.strip() for metric in metrics.split(",") if metric.strip())
    return command.run(name, Look(sort, shown, by_run=each), runs=runs, trim=trim, once=once)


@app.command(short_help="Stop a sweep or runs that are being trained; what they have is saved.")
@click.argument("names", nargs=-1, required=True, metavar="SWEEP | RUN...")
@click.option("--wait/--no-wait", default=True, help="Wait until all is saved.", show_default=True)
@options.runs
def cancel(names: tuple[str, ...], *, wait: bool, runs: Path) -> int:
    """Stop sweeps and runs that are being trained: they save a checkpoint first, and the same command continues them.

    A run of a sweep is stopped alone: the sweep goes on without it.
    """
    from shoal.cli import cancel as command  # noqa: PLC0415 none but the command that is called

    return command.run(names, runs=runs, wait=wait)
