"""The command `luthier`: a table of verbs. Only the chosen verb's module is imported, so that help is there at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple


class Verb(NamedTuple):
    """A command: where it lives, and what it does in one line."""

    module: str
    help: str


VERBS: dict[str, Verb] = {
    "demo": Verb(
        "luthier.cli.demo", "Fine-tune a small model on a small task and measure what it gained (minutes on a CPU)."
    ),
    "train": Verb("luthier.cli.train", "Train as a recipe says, or continue a run."),
    "evaluate": Verb("luthier.cli.evaluate", "Measure a run against its base model."),
    "export": Verb("luthier.cli.export", "Merge, quantise and export a run for other programs, verified."),
    "judge": Verb("luthier.cli.judge", "Let a model judge a run's answers, side by side or by a rubric."),
    "blind": Verb("luthier.cli.blind", "Compare answers side by side yourself, without knowing whose they are."),
    "runs": Verb("luthier.cli.runs", "List runs: state, verdict, losses, size."),
    "watch": Verb("luthier.cli.watch", "Follow a running run until it ends, or see how one stands."),
    "stop": Verb("luthier.cli.stop", "Let a running run save and end."),
    "compare": Verb("luthier.cli.compare", "What differs between runs: recipe, data, losses, paired scores."),
    "report": Verb("luthier.cli.report", "Write a run's report.html again, and open it."),
    "chat": Verb("luthier.cli.chat", "Talk with a run, its base model, or both."),
    "serve": Verb("luthier.cli.serve", "Serve runs and their base behind an OpenAI-compatible address."),
    "data": Verb("luthier.cli.data", "Data before training: inspect, show, check, convert, split, dedup."),
    "advise": Verb("luthier.cli.advise", "Prompt, retrieve or fine-tune? With reasons, measurements and a recipe."),
    "doctor": Verb("luthier.cli.doctor", "What works on this machine, how to mend what does not, what can be trained."),
    "plan": Verb("luthier.cli.plan", "Memory, time and money of a training before it runs; what fits where."),
    "models": Verb("luthier.cli.models", "Known models: sizes, licences, memory by method; fetch them."),
    "recipe": Verb("luthier.cli.recipe", "Check a recipe, show its fields, print its schema."),
    "verify": Verb("luthier.cli.verify", "Prove that an interrupted and resumed run equals an uninterrupted one."),
}

EXIT_CODES = "0 good · 1 a check failed · 2 bad input · 130 Ctrl-C · 143 SIGTERM · 129 terminal closed"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    from luthier.cli.streams import prepare_streams

    prepare_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    wants_json = "--json" in arguments
    try:
        return _run(arguments, wants_json)
    except KeyboardInterrupt:  # before there was a verb to take it
        if wants_json:
            print('{"error": {"type": "Interrupted", "message": "Interrupted."}}')
        sys.stderr.write("stopped: Interrupted.\n")
        return 130
    finally:
        if argv is None:  # the process ends: a second Ctrl-C may end it at once, without a traceback
            import signal

            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(arguments: list[str], wants_json: bool) -> int:
    # --json means the same wherever it stands; everything else belongs to the verb.
    arguments = [a for a in arguments if a != "--json"]
    if len(arguments) == 2 and arguments[0] == "help" and arguments[1] in VERBS:  # as git has it
        arguments = [arguments[1], "--help"]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return 0
    if arguments[0] in ("--version", "-V"):
        return _version(wants_json)
    name, rest = arguments[0], arguments[1:]
    from luthier.cli.dispatch import dispatch, refuse

    if name not in VERBS:
        from difflib import get_close_matches

        kind = "option" if name.startswith("-") else "command"
        near = get_close_matches(name, [*VERBS, "--help", "--version", "--json"], n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Commands: {', '.join(VERBS)}."
        if name.endswith((".yaml", ".yml")):
            hint = f"Did you mean 'luthier train {name}'?"
        return refuse(f"There is no {kind} '{name}'. {hint}", "luthier --help", wants_json=wants_json)
    return dispatch(VERBS[name].module, f"luthier {name}", rest, wants_json=wants_json)


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items())
    return f"""\
Luthier fine-tunes large language models and proves that it worked.

Usage: luthier COMMAND [ARGUMENTS] [OPTIONS]

Commands:
{verbs}

Options:
  --json      One JSON object on stdout; progress and words on stderr.
  --version   Print the version.
  --help      Print this, or with a command its arguments and options.

Exit codes: {EXIT_CODES}
"""


def _version(wants_json: bool) -> int:
    import platform

    from luthier import __version__

    if wants_json:
        import json

        print(json.dumps({"luthier": __version__, "python": platform.python_version()}))
    else:
        print(f"luthier {__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
