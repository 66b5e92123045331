"""Commands that look after runs: what may be said, and which function does it. `app` has those that train and show."""

from __future__ import annotations

from pathlib import Path

import click

from shoal.cli import options
from shoal.cli.app import app


@app.command(short_help="Train a run for longer, from where it stands.", epilog=options.RUN_HELP)
@options.run
@options.words
@options.modules
@options.runs
@options.json
@options.verbose
def extend(run: str, words: tuple[str, ...], *, modules: tuple[str, ...], runs: Path, json: bool, verbose: int) -> int:
    """Train a run for longer: its recipe with a larger budget, from the newest checkpoint that this training has too.

    It is a run of its own, which ends with the same bits as if it had been trained from the start; RUN stays as it is.
    Where the first steps of the two differ, as under schedules that look ahead to the end, it is said which key, at
    which step, and nothing is trained. Exit codes are those of 'shoal train'.

    \b
      shoal extend digits budget.epochs=20
      shoal extend 3f9a/seed-0 budget.steps=5000
    """
    from shoal.cli.signals import resumable  # noqa: PLC0415 none but the command that is called

    with resumable():
        from shoal.cli import extend as command  # noqa: PLC0415 imports torch

        return command.run(run, list(words), runs=runs, modules=list(modules), json=json, verbose=verbose)


@app.command(short_help="Check that what runs saved is whole.", epilog=options.RUN_HELP)
@click.argument("names", nargs=-1, metavar="[RUN]...")
@click.option("--all", "every", is_flag=True, help="Every run, those that were set aside too.")
@options.runs
@options.json
def verify(names: tuple[str, ...], *, every: bool, runs: Path, json: bool) -> int:
    """Check that what runs saved is whole: every byte of their checkpoints, their records and journals.

    Needs neither torch nor the code that trained them, and changes nothing. Exit code 1 says that something is damaged.

    \b
      shoal verify digits
      shoal verify --all
    """
    from shoal.cli import verify as command  # noqa: PLC0415 none but the command that is called

    return command.run(names, every=every, runs=runs, json=json)


@app.command(short_help="Delete runs.", epilog=options.RUN_HELP)
@click.argument("run", nargs=-1, required=True, metavar="RUN...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@options.runs
@options.json
def rm(run: tuple[str, ...], *, yes: bool, runs: Path, json: bool) -> int:
    """Delete runs for good: their folders, with checkpoints and history. A live run is refused."""
    from shoal.cli import rm as command  # noqa: PLC0415 none but the command that is called

    return command.run(run, runs=runs, yes=yes, json=json)


@app.command(short_help="Keep runs whose code or data were changed harmlessly.", epilog=options.RUN_HELP)
@click.argument("names", nargs=-1, metavar="[RUN]...")
@click.option(
    "--accept",
    multiple=True,
    metavar="WHAT",
    help="What changed and makes no difference: model, dataset, all; repeatable.",
)
@options.modules
@options.runs
@options.json
def migrate(
    names: tuple[str, ...], *, accept: tuple[str, ...], modules: tuple[str, ...], runs: Path, json: bool
) -> int:
    """List the runs whose code or data have changed since they were trained, and with --accept keep them as they are.

    A run is what its recipe, its data and your code are. A comment in your model makes it another experiment, and its
    runs strangers. With --accept you declare that what changed changes no result: the runs (all of them, or RUN...) get
    the identity that they have now. Their records keep the one that they had. Without it, nothing is changed.

    \b
      shoal migrate --module my_project
      shoal migrate --module my_project --accept model
      shoal migrate digits/seed-0 --accept dataset
    """
    from shoal.cli import migrate as command  # noqa: PLC0415 imports torch

    return command.run(names, accept, runs=runs, modules=list(modules), json=json)


@app.command(short_help="Give runs tags, to find them by.", epilog=options.RUN_HELP)
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@click.option("--add", multiple=True, metavar="TAG", help="A tag that they shall have; repeatable.")
@click.option("--remove", multiple=True, metavar="TAG", help="A tag that they shall not have; repeatable.")
@options.runs
@options.json
def tag(names: tuple[str, ...], *, add: tuple[str, ...], remove: tuple[str, ...], runs: Path, json: bool) -> int:
    """Add tags to runs, or remove them; without either, print what they have. A live run may be tagged too.

    \b
      shoal tag digits --add good
      shoal tag digits mnist_cnn --add paper --remove good
      shoal ls --where 'test.accuracy>0.98' --json | jq -r .folder | xargs shoal tag --add good
      shoal ls --tag good
    """
    from shoal.cli import tag as command  # noqa: PLC0415 none but the command that is called

    return command.run(names, add=add, remove=remove, runs=runs, json=json)


@app.command(short_help="Say something of a run.", epilog=options.RUN_HELP)
@options.run
@click.argument("text", required=False, metavar="[TEXT]")
@click.option("--append", is_flag=True, help="After what the note says, in a line of its own.")
@options.runs
@options.json
def note(run: str, text: str | None, *, append: bool, runs: Path, json: bool) -> int:
    """Set a run's note to TEXT; "" removes it. Without TEXT, print it. 'shoal show' has it too.

    \b
      shoal note digits "the baseline of table 2"
      shoal note digits --append "trained again on the new machine: same numbers"
      shoal note digits
    """
    from shoal.cli import note as command  # noqa: PLC0415 none but the command that is called

    return command.run(run, text, append=append, runs=runs, json=json)
