"""`tamis …`: the commands and their options, and how errors are told. What they do is in `tamis.commands`."""

import argparse
import errno
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tamis import __version__, commands
from tamis.errors import TamisError, UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0, 2 for the user's mistakes and 1 for failures."""
    args = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if not args.debug else logging.DEBUG, format="%(message)s", stream=sys.stderr
    )
    for noisy in ("httpx", "urllib3", "filelock", "fsspec"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        args.run(args)
        return 0
    except KeyboardInterrupt:
        print("tamis: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if args.debug:
            raise
        if isinstance(error, TamisError):
            print(f"tamis: {error}", file=sys.stderr)
            return 2 if isinstance(error, UserError) else 1
        reason = " ".join(str(error).split())[:300]
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            print(f"tamis: the results cannot be written: {reason}; free some space or choose --out", file=sys.stderr)
            return 1
        print(f"tamis: {type(error).__name__}: {reason} (run it again with --debug for the details)", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tamis", description="Which instruction data is worth training on?")
    parser.add_argument("--version", action="version", version=f"tamis {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    every = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[Any], None], text: str) -> argparse.ArgumentParser:
        sub = every.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    def out(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--out", type=_folder, required=True, metavar="DIR", help="folder that gets the results")

    def changes(sub: argparse.ArgumentParser, example: str) -> None:
        sub.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help=f"a setting, such as {example}"
        )

    def reading(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--model", default="demo", help="a model's folder, URI, hub id, or demo (default)")
        sub.add_argument("--template", default="chat", help="chat (default), alpaca, plain or tulu")

    sub = command("demo", commands.demo, "run the whole path on the quickstart data, on this machine")
    sub.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="default: runs/demo")

    sub = command("run", commands.run, "run the pipeline on this machine as a configuration file says")
    sub.add_argument("config", type=Path, help="a YAML file with the pipeline's parameters")
    changes(sub, "training.epochs=2")
    sub.add_argument("--out", type=Path, metavar="DIR", help="default: runs/<name of the configuration>")

    sub = command("prepare", commands.prepare, "read and check a pool, and write it as Parquet shards")
    sub.add_argument("pool", help="a file, folder or pattern: here, s3://bucket/key or hf://datasets/org/name")
    sub.add_argument("--target", metavar="POOL", help="rows of what the model should become good at")
    sub.add_argument("--heldout", metavar="POOL", help="rows kept for evaluation")
    sub.add_argument("--task", action="append", default=[], metavar="TASK", help="an lm-eval task to keep out")
    out(sub)
    changes(sub, "near_duplicates=remove")
    sub.add_argument("--overwrite", action="store_true", help="replace what another run left in --out")

    def scoring(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("pool", type=Path, help="a prepared folder, or files as for prepare")
        sub.add_argument("--method", action="append", required=True, metavar="NAME", help="may be given several times")
        reading(sub)
        sub.add_argument("--target", type=Path, help="rows of what the model should become good at")
        sub.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
        sub.add_argument("--max-length", type=int, default=2048, help="tokens of a row at most (default: 2048)")
        experience = "train on this many varied rows first, and score with that model"
        sub.add_argument("--pre-experience", type=int, default=0, metavar="ROWS", help=experience)
        out(sub)
        changes(sub, "ifd.ratio=loss")

    sub = command("fit", commands.fit, "let methods learn from a target, to score several pools with what they learned")
    scoring(sub)

    sub = command("score", commands.score, "score a pool by one or several methods in one pass")
    scoring(sub)
    sub.add_argument("--states", type=Path, metavar="DIR", help="what tamis fit wrote")
    sub.add_argument("--overwrite", action="store_true", help="score again what is already there")

    sub = command("advise", commands.advise, "predict how many rows a task needs, for a budget of auto")
    sub.add_argument("pool", type=Path, help="a prepared folder, or files as for prepare")
    reading(sub)
    sub.add_argument(
        "--target", type=Path, help="the task's rows (default: the prepared target, or a sample of the pool)"
    )
    sub.add_argument("--budget", default="auto:0.9", help="auto:SHARE of the performance in reach (default: auto:0.9)")
    out(sub)
    changes(sub, "family=llama-3.1-8b")

    sub = command(
        "select", commands.select, "select rows by scores: ordered ids, and a reason for every row of the pool"
    )
    sub.add_argument("pool", type=Path, help="the prepared folder that was scored")
    sub.add_argument("--scores", type=Path, required=True, metavar="DIR", help="what tamis score wrote")
    sub.add_argument("--method", action="append", default=[], metavar="NAME", help="may be given several times")
    sub.add_argument(
        "--budget", default="10%", help="a share of the pool, a number of rows or auto:0.9 (default: 10%%)"
    )
    sub.add_argument("--advice", type=Path, metavar="DIR", help="what tamis advise wrote, for a budget of auto")
    sub.add_argument("--random-seed", action="append", default=[], type=int, metavar="SEED", help="adds a random arm")
    sub.add_argument("--arm", action="append", default=[], metavar="NAME", help="adds full or balanced-random-SEED")
    out(sub)
    changes(sub, "ifd.ratio=loss or selectors.ifd.selector=middle")

    sub = command("finetune", commands.finetune, "fine-tune a model on selected rows with DeepSpeed")
    sub.add_argument("selected", type=Path, help="a folder that tamis select wrote for one arm")
    reading(sub)
    out(sub)
    sub.add_argument("--workspace", default="", metavar="URI", help="where the tuned model lives: s3://bucket/prefix")
    changes(sub, "epochs=2")

    sub = command("evaluate", commands.evaluate, "evaluate a model on held-out rows and with lm-eval")
    sub.add_argument("model", help="a model's folder, a URI, a hub id, or demo")
    sub.add_argument("--template", default="chat", help="chat (default), alpaca, plain or tulu")
    sub.add_argument("--heldout", type=Path, help="held-out rows: a folder of shards, or files as for prepare")
    sub.add_argument("--task", action="append", default=[], metavar="TASK", help="an lm-eval task's name or folder")
    sub.add_argument("--arm", default="model", help="what to call it in a report")
    out(sub)
    changes(sub, "limit=200")
    sub.add_argument("--overwrite", action="store_true", help="evaluate again what is already there")

    sub = command("report", commands.report, "compare evaluated arms: is the selection better than random?")
    sub.add_argument("--prepared", type=Path, required=True, metavar="DIR", help="what tamis prepare wrote")
    sub.add_argument("--scores", type=Path, action="append", default=[], metavar="DIR", help="what tamis score wrote")
    sub.add_argument("--selections", type=Path, required=True, metavar="DIR", help="what tamis select wrote")
    sub.add_argument("evaluations", type=Path, nargs="+", help="folders that tamis evaluate wrote")
    out(sub)

    sub = command(
        "publish", commands.publish, "publish the best arm: model, selection, report and where they came from"
    )
    sub.add_argument("release", help="name/version")
    sub.add_argument("--report", type=Path, required=True, metavar="DIR", help="what tamis report or run wrote")
    sub.add_argument("--selections", type=Path, required=True, metavar="DIR", help="what tamis select wrote")
    sub.add_argument("--workspace", required=True, metavar="URI", help="releases go under it: s3://bucket/prefix")
    changes(sub, "only_if=always or arm=rds")

    sub = every.add_parser("store", help="an S3 store on this machine, for trying things out")
    actions = sub.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text in (
        ("up", "start it, or find it running"),
        ("down", "stop it; data and keys stay"),
        ("status", "say whether it runs"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("--dir", type=Path, default=Path("runs/store"), help="its folder (default: runs/store)")
        action.set_defaults(run=commands.store, action=name)
    text = "give a folder that another tool uploaded its manifest, so that it can be read as a model"
    action = actions.add_parser("seal", help=text, description=text)
    action.add_argument("uri", help="s3://bucket/key")
    action.set_defaults(run=commands.seal)

    sub = command("methods", commands.methods, "list the installed methods, or show one with its settings")
    sub.add_argument("name", nargs="?", help="a method's name")

    sub = command(
        "submit", commands.submit, "start a run on a cluster, once for the same pipeline, parameters and data"
    )
    sub.add_argument("config", type=Path, help="a YAML file with the pipeline's parameters")
    changes(sub, "budget=5%%")
    sub.add_argument("--endpoint", metavar="URL", help="the pipelines API; default: KF_PIPELINES_ENDPOINT")
    sub.add_argument("--namespace", metavar="NAME", help="where the run lives, in a multi-user installation")
    sub.add_argument("--experiment", metavar="NAME", help="what the run is listed under (default: tamis)")
    sub.add_argument("--service-account", metavar="NAME", help="of the run's pods; default: the installation's")
    sub.add_argument("--object", metavar="URI", help="the pool, as an S3 event names a new object")
    sub.add_argument("--pools", type=Path, metavar="FILE", help="node pools; default: pools.yaml beside CONFIG")
    sub.add_argument("--wait", action="store_true", help="exit with the run's fate: 0 succeeded, 1 failed or cancelled")
    sub.add_argument("--recurring", metavar="CRON", help="make or update a schedule named like CONFIG instead")

    sub = command("compile", commands.compile, "compile the components and pipelines to YAML, and write their READMEs")
    sub.add_argument("--check", action="store_true", help="only say whether the compiled files are up to date")
    sub.add_argument("--release", action="store_true", help="refuse images that are not named by digest")
    sub.add_argument("--out", type=Path, metavar="DIR", help="write the compiled files there instead")
    return parser


def _folder(text: str) -> Path:
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text} is a URI; results are written to a folder of this machine first")
    return Path(text)


if __name__ == "__main__":
    sys.exit(main())
