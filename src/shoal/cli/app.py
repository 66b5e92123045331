"""The command line: what may be said, and which function does it.

Each command imports its work when it is called, so that `shoal --help` and `shoal ls` answer at once; only `train`,
`test`, `predict` and `graph` import torch. It is `click` and not `typer`, which imports pydantic to convert the value
of any option.
"""

from __future__ import annotations

from pathlib import Path

import click

import shoal
from shoal.cli import options
from shoal.errors import unknown

ORDER = (
    *("train", "sweep", "extend", "ls", "show", "attach", "logs", "cancel", "test", "predict", "compare", "report"),
    *("export", "tag", "note", "verify", "migrate", "rm", "graph", "schema"),
)
"""How help lists the commands: training, looking, using, keeping."""


class Commands(click.Group):
    """A group that knows what a misspelt command was meant to be."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self.commands:
            ctx.fail(unknown("command", name, self.commands))
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.commands, key=ORDER.index)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", is_flag=True, help="Print the version and exit.")
@click.pass_context
def app(context: click.Context, *, version: bool) -> None:
    """Train PyTorch networks: one, or a whole shoal of them. Never lose a run, never train it twice.

    \b
      shoal train                              train a network on the digits in a few seconds
      shoal train mnist_cnn dataset.path=DIR   train a preset with a setting of your own
      shoal sweep optimizer.lr=0.01,0.1        train a grid, as many runs at once as there are cores
      shoal ls                                 list what was trained
    """
    if version:
        click.echo(f"shoal {shoal.__version__}")
        context.exit()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@app.command(short_help="Train one run, or continue it.")
@click.argument("words", nargs=-1, metavar="[PRESET] [KEY=VALUE]...")
@click.option("--again", is_flag=True, help="Train anew; the run that is there is set aside, not deleted.")
@click.option("--detach", is_flag=True, help="Go on in the background from the first step on.")
@click.option("--config-dir", type=click.Path(path_type=Path), metavar="DIR", help="A folder with presets of your own.")
@options.modules
@options.runs
@options.json
@options.verbose
def train(
    words: tuple[str, ...],
    *,
    again: bool,
    detach: bool,
    config_dir: Path | None,
    modules: tuple[str, ...],
    runs: Path,
    json: bool,
    verbose: int,
) -> int:
    """Train one run, or continue it. A run that is finished prints its result at once.

    PRESET is digits (the default), digits_mlp, mnist_mlp, mnist_cnn, cifar10_resnet, shakespeare_gpt, table_mlp, or one
    of yours from --config-dir. Settings and
    options may stand in any order; 'shoal schema' lists the keys.

    \b
      shoal train
      shoal train digits_mlp optimizer.lr=0.05 seed=1
      shoal train optimizer=adamw optimizer.lr=1e-3 budget.epochs=5
      shoal train mnist_cnn dataset.path=data/mnist --json
      shoal train --module my_project model=my_model model.width=64

    Killed or stopped, the same command continues from the last checkpoint. Exit codes: 0 done, 1 failed, 2 bad input,
    75 stopped and resumable.
    """
    from shoal.cli.signals import resumable  # noqa: PLC0415 none but the command that is called

    with resumable():
        from shoal.cli import train as command  # noqa: PLC0415 imports torch

        return command.run(
            list(words),
            runs=runs,
            config_dir=config_dir,
            modules=list(modules),
            again=again,
            json=json,
            verbose=verbose,
            detach=detach,
        )


@app.command(short_help="List the runs.")
@click.option(
    "--status",
    multiple=True,
    metavar="STATUS",
    help="Only queued, running, finished, failed, stopped or killed; repeatable.",
)
@click.option("--name", metavar="GLOB", help="Only names like this: 'mnist*'.")
@click.option(
    "--where", multiple=True, metavar="CONDITION", help="Only where it holds: 'test.accuracy>0.9'; repeatable."
)
@click.option(
    "--sort",
    metavar="KEY",
    default="-started",
    show_default=True,
    help="By a metric, started, name, steps, ...; -KEY is from high to low.",
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N runs.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only runs with this tag; repeatable.")
@click.option("--sweep", metavar="NAME", help="Only the runs of this sweep.")
@click.option("--group", is_flag=True, help="One row an experiment: mean ± deviation (n) over its finished seeds.")
@click.option("--metrics", default="", metavar="A,B", help="The metrics to show, such as test.loss,valid.loss.")
@options.runs
@options.json
def ls(
    *,
    status: tuple[str, ...],
    name: str | None,
    where: tuple[str, ...],
    sort: str,
    reverse: bool,
    limit: int | None,
    metrics: str,
    tags: tuple[str, ...],
    sweep: str | None,
    group: bool,
    runs: Path,
    json: bool,
) -> int:
    """List the runs, newest first.

    \b
      shoal ls --status killed --status stopped
      shoal ls --where 'valid.accuracy>=0.98' --sort -test.accuracy --limit 10
      shoal ls --name 'mnist*' --tag good --json
      shoal ls --sweep widths --group --sort -test.accuracy
    """
    from shoal.cli import ls as command  # noqa: PLC0415 none but the command that is called

    shown = tuple(metric.strip() for metric in metrics.split(",") if metric.strip())
    choice = command.Choice(status, name, where, sort=sort, reverse=reverse, limit=limit, metrics=shown, tags=tags)
    return command.run(choice, sweep=sweep, group=group, runs=runs, json=json)


@app.command(short_help="Show one run: status, metrics, curves, recipe, what to do next.", epilog=options.RUN_HELP)
@options.run
@options.runs
@options.json
def show(run: str, *, runs: Path, json: bool) -> int:
    """Show one run: status and what to do next, metrics, curves, data, plan, checkpoints, time, recipe."""
    from shoal.cli import show as command  # noqa: PLC0415 none but the command that is called

    return command.run(run, runs=runs, json=json)


@app.command(short_help="Compare runs, experiments or sweeps: what differs, which is better.", epilog=options.SET_HELP)
@click.argument("names", nargs=-1, metavar="A B...")
@options.runs
@options.json
def compare(names: tuple[str, ...], *, runs: Path, json: bool) -> int:
    """Compare runs: what differs in recipe, code, data, versions and plan, their results, and which is better.

    Results over several seeds have mean, deviation and the 95 % interval of the mean; a difference is taken seed by
    seed where both have the seeds, and may be "not distinguishable". A sweep beside others stands for its best
    experiment; alone, for its experiments, the best of them.

    \b
      shoal compare 3f9a 81c2
      shoal compare digits-3f9a21b0c4d5/seed-0 digits-3f9a21b0c4d5/seed-1
      shoal compare sgd-sweep adamw-sweep
    """
    from shoal.cli import compare as command  # noqa: PLC0415 none but the command that is called

    return command.run(names, runs=runs, json=json)


@app.command(short_help="Write a run, or a sweep of them, as a page of HTML.", epilog=options.SET_HELP)
@click.argument("names", nargs=-1, required=True, metavar="A...")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to, instead.")
@click.option(
    "--figures", type=click.Path(path_type=Path), metavar="DIR", help="Also draw each figure there, PNG and SVG."
)
@click.option("--force", is_flag=True, help="Overwrite a file even where it is no page of Shoal's.")
@options.runs
@options.json
def report(
    names: tuple[str, ...], *, output: Path | None, figures: Path | None, force: bool, runs: Path, json: bool
) -> int:
    """Write one run as a single page of HTML: result, what happened, curves, predictions, recipe, time, source.

    Of a sweep, or of several runs or experiments, one page: curves with bands over seeds, parallel coordinates, a
    table that sorts and filters, a plot for each hyperparameter, heat maps of pairs, what varies, failures.

    A page needs no network and no Shoal to be read. It is written to NAME-SIGNATURE-seed-N.html, SWEEP.html or
    comparison.html in the current folder, or to FILE; a run's own folder holds only what its training wrote. A page
    that is there already is replaced, for it can be made again from the runs; any other file is refused without
    --force.

    \b
      shoal report digits
      shoal report 3f9a/seed-0 -o page.html
      shoal report SWEEP --figures figures
      shoal report 3f9a 81c2 -o both.html
    """
    from shoal.cli import report as command  # noqa: PLC0415 none but the command that is called

    return command.run(names, file=output, figures=figures, force=force, runs=runs, json=json)


@app.command(short_help="Print what a run's training said.", epilog=options.RUN_HELP)
@options.run
@click.option("-f", "--follow", is_flag=True, help="Go on printing while the run is live.")
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="LINES", help="Only the last LINES.")
@options.runs
def logs(run: str, *, follow: bool, lines: int | None, runs: Path) -> int:
    """Print what a run's training said."""
    from shoal.cli import logs as command  # noqa: PLC0415 none but the command that is called

    return command.run(run, runs=runs, follow=follow, lines=lines)


@app.command("test", short_help="Measure a trained run again.", epilog=options.RUN_HELP)
@options.run
@options.words
@options.modules
@options.runs
@options.json
@options.verbose
def measure(run: str, words: tuple[str, ...], *, modules: tuple[str, ...], runs: Path, json: bool, verbose: int) -> int:
    """Measure a trained run again, on its test split or on other data: with its best weights, else with the last and
    with averaged ones where it has them, else with the last. As training did it: batches, precision, threads.

    \b
      shoal test digits
      shoal test digits weights=raw
      shoal test 3f9a dataset.path=OTHER_DATA
      shoal test 3f9a/seed-0 split=valid device=cpu
    """
    from shoal.cli import test as command  # noqa: PLC0415 imports torch

    return command.run(run, list(words), runs=runs, modules=list(modules), json=json, verbose=verbose)


@app.command(short_help="Predict for new inputs, or go on with a text.", epilog=options.RUN_HELP)
@options.run
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show the N likeliest classes (3); of a text, draw from the N likeliest tokens (all).",
)
@click.option("--tokens", type=click.IntRange(min=1), metavar="N", help="Of a text: how many to add (500).")
@click.option(
    "--temperature", type=float, metavar="T", help="Of a text: 0 takes the likeliest, 1 draws as it is (0.8)."
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Of a text: which one is drawn (0).")
@click.option("--device", default="auto", show_default=True, metavar="DEVICE", help="cpu, cuda, cuda:1, mps, or auto.")
@click.option(
    "--weights", metavar="WHICH", help="raw, average or best; by default the best, else averaged ones, else the last."
)
@options.modules
@options.runs
@options.json
def predict(
    run: str,
    inputs: tuple[str, ...],
    *,
    top: int | None,
    tokens: int | None,
    temperature: float | None,
    seed: int | None,
    device: str,
    weights: str | None,
    modules: tuple[str, ...],
    runs: Path,
    json: bool,
) -> int:
    """Print what a trained run says of inputs; a run that was trained on text goes on with INPUT.

    INPUT is what the run was trained on: a picture or a folder of them, a CSV or Parquet file, a text; or an array in
    an .npy or .npz file, as it was in the dataset.

    \b
      shoal predict mnist_cnn digit.png
      shoal predict table_mlp new_rows.csv --json
      shoal predict shakespeare_gpt "ROMEO:" --tokens 300
    """
    from shoal.cli import predict as command  # noqa: PLC0415 imports torch

    choice = command.Choice(top, tokens, temperature, seed, device, weights)
    return command.run(run, inputs, choice, runs=runs, modules=list(modules), json=json)


@app.command(short_help="Write runs as files for other programs.", epilog=options.RUN_HELP)
@click.argument("names", nargs=-1, metavar="[RUN]...")
@click.option("--weights", type=click.Path(path_type=Path), metavar="FILE", help="Weights, as FILE.safetensors.")
@click.option("--onnx", type=click.Path(path_type=Path), metavar="FILE", help="The model, as FILE.onnx.")
@click.option("--history", type=click.Path(path_type=Path), metavar="FILE", help="FILE.csv or FILE.parquet.")
@click.option("--tensorboard", type=click.Path(path_type=Path), metavar="DIR", help="A folder for TensorBoard.")
@click.option("--which", metavar="WHICH", help="Which weights: raw, average or best.")
@click.option("--table", type=click.Path(path_type=Path), metavar="FILE", help="Of many: FILE.csv or FILE.parquet.")
@click.option("--histories", type=click.Path(path_type=Path), metavar="FILE", help="Of many: FILE.csv or FILE.parquet.")
@click.option("--hiplot", type=click.Path(path_type=Path), metavar="FILE", help="Of many: FILE.csv for HiPlot.")
@click.option("--sweep", metavar="NAME", help="Of many: the runs of this sweep.")
@click.option("-f", "--force", is_flag=True, help="Overwrite what is there.")
@options.modules
@options.runs
@options.json
def export(
    names: tuple[str, ...],
    *,
    weights: Path | None,
    onnx: Path | None,
    history: Path | None,
    tensorboard: Path | None,
    which: str | None,
    table: Path | None,
    histories: Path | None,
    hiplot: Path | None,
    sweep: str | None,
    force: bool,
    modules: tuple[str, ...],
    runs: Path,
    json: bool,
) -> int:
    """Write a run as files for other programs, in one form or several; or many runs as tables.

    Weights are the best where the run kept them, else averaged ones where it has, else the last; or those of --which.

    \b
      shoal export digits --weights digits.safetensors
      shoal export digits --onnx digits.onnx --history digits.csv
      shoal export 3f9a/seed-0 --tensorboard board

    Of many runs, those that are named, those of a sweep or all in the folder: --table has one row a run with its recipe
    and its metrics, --histories one row a line of their histories, --hiplot what varies, and metrics.

    \b
      shoal export --table runs.csv
      shoal export --sweep widths --table widths.parquet --histories curves.parquet --hiplot hiplot.csv

    The ONNX model takes inputs as they are in the dataset, float32 [batch, ...] (tokens int64), and normalises them.
    """
    from shoal.cli import export as command  # noqa: PLC0415 none but the command that is called
    from shoal.pages.export_many import Tables  # noqa: PLC0415
    from shoal.pages.export_targets import Targets  # noqa: PLC0415

    targets, tables = Targets(weights, onnx, history, tensorboard), Tables(table, histories, hiplot)
    return command.run(
        names, targets, tables, runs=runs, sweep=sweep, which=which, modules=modules, force=force, json=json
    )


@app.command(short_help="Show the graph of a training step: operations, kernels, times.")
@click.argument("words", nargs=-1, metavar="[PRESET] [KEY=VALUE]...")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to, instead.")
@click.option("--no-compile", is_flag=True, help="Leave out the kernels after fusion: compiling takes a while.")
@click.option("--force", is_flag=True, help="Overwrite a file even where it is no graph of Shoal's.")
@click.option("--config-dir", type=click.Path(path_type=Path), metavar="DIR", help="A folder with presets of your own.")
@options.modules
@options.runs
@options.json
def graph(
    words: tuple[str, ...],
    *,
    output: Path | None,
    no_compile: bool,
    force: bool,
    config_dir: Path | None,
    modules: tuple[str, ...],
    runs: Path,
    json: bool,
) -> int:
    """Show and save the graph of a training step, as it is captured and as it is compiled. Nothing is trained.

    Shown are the operations that a step comes to, the kernels that inductor fuses them to, and the time of each; the
    file has every operation in its order. It is written to NAME.graph.txt in the current folder, or to FILE; a
    FILE.json has the same as data.

    \b
      shoal graph
      shoal graph mnist_cnn batch_size=64 --no-compile
      shoal graph optimizer=sgd -o step.json
    """
    from shoal.cli import graph as command  # noqa: PLC0415 imports torch

    return command.run(
        list(words),
        file=output,
        compiling=not no_compile,
        force=force,
        runs=runs,
        config_dir=config_dir,
        modules=list(modules),
        json=json,
    )


@app.command(short_help="List the keys of a recipe.")
@click.argument("key", required=False, metavar="[KEY]")
@options.modules
@options.json
def schema(key: str | None, *, modules: tuple[str, ...], json: bool) -> int:
    """List the keys of a recipe, with type, default, bounds and meaning. KEY is a key, a section or an entry.

    \b
      shoal schema optimizer
      shoal schema adamw
      shoal schema batch_size
      shoal schema fourier --module own_module
    """
    from shoal.cli import schema as command  # noqa: PLC0415 imports pydantic

    return command.run(key, modules=list(modules), json=json)
