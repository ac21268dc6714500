"""`tamis …`, a thin face over the library: each command reads its options and makes one call.

Nothing heavy is imported before a command needs it, so `--help` answers at once.
"""

import argparse
import errno
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tamis import __version__
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
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[Any], None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
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

    sub = command("demo", _demo, "run the whole path on the quickstart data, on this machine")
    sub.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="default: runs/demo")

    sub = command("run", _run, "run the pipeline on this machine as a configuration file says")
    sub.add_argument("config", type=Path, help="a YAML file with the pipeline's parameters")
    changes(sub, "training.epochs=2")
    sub.add_argument("--out", type=Path, metavar="DIR", help="default: runs/<name of the configuration>")

    sub = command("prepare", _prepare, "read and check a pool, and write it as Parquet shards")
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

    sub = command("fit", _fit, "let methods learn from a target, to score several pools with what they learned")
    scoring(sub)

    sub = command("score", _score, "score a pool by one or several methods in one pass")
    scoring(sub)
    sub.add_argument("--states", type=Path, metavar="DIR", help="what tamis fit wrote")
    sub.add_argument("--overwrite", action="store_true", help="score again what is already there")

    sub = command("advise", _advise, "predict how many rows a task needs, for a budget of auto")
    sub.add_argument("pool", type=Path, help="a prepared folder, or files as for prepare")
    reading(sub)
    sub.add_argument(
        "--target", type=Path, help="the task's rows (default: the prepared target, or a sample of the pool)"
    )
    sub.add_argument("--budget", default="auto:0.9", help="auto:SHARE of the performance in reach (default: auto:0.9)")
    out(sub)
    changes(sub, "family=llama-3.1-8b")

    sub = command("select", _select, "select rows by scores: ordered ids, and a reason for every row of the pool")
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

    sub = command("finetune", _finetune, "fine-tune a model on selected rows with DeepSpeed")
    sub.add_argument("selected", type=Path, help="a folder that tamis select wrote for one arm")
    reading(sub)
    out(sub)
    sub.add_argument("--workspace", default="", metavar="URI", help="where the tuned model lives: s3://bucket/prefix")
    changes(sub, "epochs=2")

    sub = command("evaluate", _evaluate, "evaluate a model on held-out rows and with lm-eval")
    sub.add_argument("model", help="a model's folder, a URI, a hub id, or demo")
    sub.add_argument("--template", default="chat", help="chat (default), alpaca, plain or tulu")
    sub.add_argument("--heldout", type=Path, help="held-out rows: a folder of shards, or files as for prepare")
    sub.add_argument("--task", action="append", default=[], metavar="TASK", help="an lm-eval task's name or folder")
    sub.add_argument("--arm", default="model", help="what to call it in a report")
    out(sub)
    changes(sub, "limit=200")
    sub.add_argument("--overwrite", action="store_true", help="evaluate again what is already there")

    sub = command("report", _report, "compare evaluated arms: is the selection better than random?")
    sub.add_argument("--prepared", type=Path, required=True, metavar="DIR", help="what tamis prepare wrote")
    sub.add_argument("--scores", type=Path, action="append", default=[], metavar="DIR", help="what tamis score wrote")
    sub.add_argument("--selections", type=Path, required=True, metavar="DIR", help="what tamis select wrote")
    sub.add_argument("evaluations", type=Path, nargs="+", help="folders that tamis evaluate wrote")
    out(sub)

    sub = command("publish", _publish, "publish the best arm: model, selection, report and where they came from")
    sub.add_argument("release", help="name/version")
    sub.add_argument("--report", type=Path, required=True, metavar="DIR", help="what tamis report or run wrote")
    sub.add_argument("--selections", type=Path, required=True, metavar="DIR", help="what tamis select wrote")
    sub.add_argument("--workspace", required=True, metavar="URI", help="releases go under it: s3://bucket/prefix")
    changes(sub, "only_if=always or arm=rds")

    sub = commands.add_parser("store", help="an S3 store on this machine, for trying things out")
    actions = sub.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text in (
        ("up", "start it, or find it running"),
        ("down", "stop it; data and keys stay"),
        ("status", "say whether it runs"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("--dir", type=Path, default=Path("runs/store"), help="its folder (default: runs/store)")
        action.set_defaults(run=_store, action=name)
    text = "give a folder that another tool uploaded its manifest, so that it can be read as a model"
    action = actions.add_parser("seal", help=text, description=text)
    action.add_argument("uri", help="s3://bucket/key")
    action.set_defaults(run=_seal)

    sub = command("methods", _methods, "list the installed methods, or show one with its settings")
    sub.add_argument("name", nargs="?", help="a method's name")

    sub = command("submit", _submit, "start a run on a cluster, once for the same pipeline, parameters and data")
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

    sub = command("compile", _compile, "compile the components and pipelines to YAML, and write their READMEs")
    sub.add_argument("--check", action="store_true", help="only say whether the compiled files are up to date")
    sub.add_argument("--release", action="store_true", help="refuse images that are not named by digest")
    sub.add_argument("--out", type=Path, metavar="DIR", help="write the compiled files there instead")
    return parser


def _folder(text: str) -> Path:
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text} is a URI; results are written to a folder of this machine first")
    return Path(text)


def _values(changes: Sequence[str]) -> dict[str, Any]:
    from tamis.config import assign

    values: dict[str, Any] = {}
    for change in changes:
        assign(values, change)
    return values


def _demo(args: Any) -> None:
    """Through a store of its own, as a run on a cluster goes: rows, models and the release are in S3."""
    from importlib.resources import files

    from tamis import store
    from tamis.store import server

    quickstart = Path(str(files("tamis.pipelines") / "select_and_finetune" / "quickstart"))
    folder, bucket = args.out / "store", f"s3://{server.BUCKET}"
    with server.running(folder) as at:
        store.use(at)
        changes = [f"workspace={bucket}/demo", "release=quickstart/{digest}"]
        for key, name in DEMO_FILES.items():
            store.write_file(f"{bucket}/quickstart/{name}", quickstart / name)
            changes.append(f"{key}={bucket}/quickstart/{name}")
        _pipeline(quickstart / "run.yaml", changes, args.out)
    print(f"The store was {folder}; `tamis store up --dir {folder}` starts it again")


DEMO_FILES = {"pool": "pool.jsonl", "target": "target.jsonl", "heldout": "heldout.jsonl"}


def _run(args: Any) -> None:
    _pipeline(args.config, args.set, args.out or Path("runs") / args.config.stem)


def _pipeline(config_file: Path, changes: Sequence[str], out: Path) -> None:
    from tamis.config import read_config
    from tamis.preflight import check, filled

    config = read_config(config_file, list(changes))
    check(config)
    from tamis.pipelines.local import run

    config = filled(config)
    files = run(config, out)
    print(files["summary"].read_text())
    print(f"Report: {files['page']}")
    if config.release:
        from tamis import store
        from tamis.publish import release_uri

        uri = release_uri(config.workspace, config.release)
        there = store.exists(store.join(uri, store.MANIFEST))
        print(f"Release: {uri}" if there else "Release: none; the step publish says why")


def _prepare(args: Any) -> None:
    from tamis import settings
    from tamis.pool.prepare import PrepareSettings, prepare

    values = _values(args.set)
    if args.task:
        values["tasks"] = args.task
    options = settings.parse(PrepareSettings, values, "settings of prepare")
    result = prepare(
        args.pool, args.out, target=args.target, heldout=args.heldout, options=options, overwrite=args.overwrite
    )
    for name in ("pool", "target", "heldout"):
        if name in result:
            part = result[name]
            print(f"{name}: {part['rows']} rows of {part['read']} read, in {part['shards']} shards")
            print(f"  formats: {', '.join(f'{shape} ({n})' for shape, n in sorted(part['formats'].items()))}")
            for reason, count in sorted(part["rejected"].items()):
                print(f"  {count} left out: {reason}")
            for reason, count in sorted(part["flagged"].items()):
                print(f"  {count} kept but flagged: {reason}")
    print(f"Written to {args.out}; which were left out, and why, is in rejected.parquet there (flagged.parquet)")


def _shards_of(path: Path, part: str, out: Path) -> Path:
    """The shards behind a path that a person gave: those of a prepared folder, or of files prepared now into `out`."""
    from tamis.pool.prepare import prepare

    if (path / "prepared.json").exists():
        path = path / part
    if list(path.glob("shard-*.parquet")):
        return path
    prepare(path, out)
    return out / "pool"


def _scoring(args: Any) -> tuple[Any, Path, Path | None]:
    """The plan, the pool's shards and the target's shards of `fit` and `score`."""
    from tamis import settings
    from tamis.scoring import ScoreSettings, Scoring

    given = {name: getattr(args, name) for name in ("dtype", "max_length", "pre_experience")}
    options = settings.parse(ScoreSettings, given, "options")
    scoring = Scoring(args.method, args.model, args.template, _values(args.set), options)
    scoring.check(_target_of(args), learned=bool(getattr(args, "states", None)))
    return (scoring, *_rows_of(args))


def _target_of(args: Any) -> Path | None:
    prepared: Path = args.pool / "target"
    return args.target or (prepared if prepared.exists() else None)


def _rows_of(args: Any) -> tuple[Path, Path | None]:
    """The pool's shards and the target's."""
    known = _target_of(args)
    pool = _shards_of(args.pool, "pool", args.out / "prepared")
    return pool, _shards_of(known, "target", args.out / "prepared-target") if known else None


def _fit(args: Any) -> None:
    from tamis.scoring import fit

    scoring, pool, target = _scoring(args)
    learned = fit(pool, args.out, scoring, target)
    print(f"learned by {', '.join(learned) or 'no method: none of them needs to'}; written to {args.out}")


def _score(args: Any) -> None:
    from tamis.scoring import score

    scoring, pool, target = _scoring(args)
    result = score(pool, args.out, scoring, target=target, states=args.states, overwrite=args.overwrite)
    work = result["work"]
    print(f"{result['rows']} rows in {result['shards']} shards ({result['shards_reused']} were there already)")
    for method, reasons in result["unscorable"].items():
        for reason, count in reasons.items():
            print(f"  {count} not scored by {method}: {reason}")
    share = f"{work['matrix_share']:.0%} of the machine's matrix rate"
    print(f"{work['tokens']} tokens at {work['tokens_per_second']} a second, {share}; written to {args.out}")


ADVICE = "advice.json"


def _advise(args: Any) -> None:
    from tamis import settings
    from tamis.budget import AdviceSettings
    from tamis.budget.step import advise_budget
    from tamis.scoring import Scoring

    options = settings.parse(AdviceSettings, _values(args.set), "settings of advise")
    pool, target = _rows_of(args)
    args.out.mkdir(parents=True, exist_ok=True)
    made = advise_budget(pool, args.out / ADVICE, args.budget, Scoring([], args.model, args.template), options, target)
    if made is None:
        raise UserError(f"budget '{args.budget}' needs no advice; write auto:0.9 for 90 % of the performance in reach")
    print(f"{made.rows} rows for {made.share:.0%} of what 5,000 rows would bring")
    print(f"predicted data efficiency {made.efficiency:.3f}, from a median cosine of {made.cosine:.3f}")
    for line in made.warnings:
        print(f"  {line}")
    print(f"written to {args.out / ADVICE}")


def _select(args: Any) -> None:
    from tamis.selecting import select

    values = _values(args.set)
    pool = args.pool / "pool" if (args.pool / "prepared.json").exists() else args.pool
    arms = select(
        pool,
        [args.scores],
        args.out,
        methods=args.method,
        budget=args.budget,
        random_seeds=args.random_seed,
        extra_arms=args.arm,
        selectors=values.pop("selectors", {}),
        method_settings=values,
        advice=args.advice and args.advice / ADVICE,
    )
    print(f"{', '.join(arms)}: written to {args.out}")


def _finetune(args: Any) -> None:
    from tamis import settings
    from tamis.finetune import TrainingSettings, finetune

    options = settings.parse(TrainingSettings, _values(args.set), "settings of finetune")
    result = finetune(args.selected, args.model, args.out, options, template=args.template, workspace=args.workspace)
    print(f"loss {result.final_loss:.4f} after {result.seconds:.0f} s; the model is in {args.out}")


def _evaluate(args: Any) -> None:
    from tamis import settings
    from tamis.evaluate import EvaluationSettings, evaluate

    values = _values(args.set)
    if args.task:
        values["tasks"] = args.task
    options = settings.parse(EvaluationSettings, values, "settings of evaluate")
    if not (args.heldout or options.tasks):
        raise UserError("nothing to evaluate on: give --heldout rows or a --task")
    heldout = _shards_of(args.heldout, "heldout", args.out / "prepared") if args.heldout else None
    result = evaluate(
        args.model,
        args.out,
        options,
        heldout=heldout,
        template=args.template,
        arm=args.arm,
        overwrite=args.overwrite,
    )
    print(result.summary())


def _report(args: Any) -> None:
    from tamis.report import report

    args.out.mkdir(parents=True, exist_ok=True)
    files = {
        name: args.out / f"report.{end}" for name, end in (("page", "html"), ("summary", "md"), ("figures", "json"))
    }
    report(
        prepared=args.prepared,
        scores=args.scores,
        selections=args.selections,
        evaluations=args.evaluations,
        **files,
    )
    print(files["summary"].read_text())
    print(f"Report: {files['page']}")


def _publish(args: Any) -> None:
    from tamis import settings
    from tamis.publish import Publication, publish

    result = publish(
        figures=args.report / "report.json",
        page=args.report / "report.html",
        summary=args.report / "report.md",
        selections=args.selections,
        workspace=args.workspace,
        release=args.release,
        options=settings.parse(Publication, _values(args.set), "settings of publish"),
    )
    print(f"{f'{result.arm} is published at {result.uri}' if result.published else 'not published'}: {result.why}")


def _store(args: Any) -> None:
    from tamis.store import server

    if args.action == "down":
        print("stopped" if server.down(args.dir) else "it did not run")
        return
    at = server.up(args.dir) if args.action == "up" else server.status(args.dir)
    if at is None:
        raise UserError(f"no store runs in {args.dir}; start it with tamis store up --dir {args.dir}")
    print(f"{at.endpoint} with the bucket s3://{server.BUCKET}; use it in a shell with `. {args.dir / 'env'}`")


def _seal(args: Any) -> None:
    from tamis import store

    manifest = store.seal(args.uri)
    print(f"{args.uri}: {len(manifest.files)} files, {manifest.size / 1e6:,.0f} MB, digest {manifest.digest}")


def _methods(args: Any) -> None:
    from inspect import getdoc

    from tamis.scorers import SCORERS
    from tamis.scorers.base import NEEDS

    def needs(scorer: Any) -> str:
        return ", ".join(text for need, text in NEEDS.items() if need in scorer.needs) or "only the pool"

    if args.name:
        scorer = SCORERS[args.name]
        fields = scorer.Settings.model_fields
        print(f"{args.name} ({SCORERS.origin(args.name)})\n\n{getdoc(scorer)}\n\nPaper: {scorer.paper}")
        print(f"Needs: {needs(scorer)}\nCost: {scorer.cost}")
        if not any(field.is_required() for field in fields.values()):
            usual = scorer(scorer.Settings()).selection
            print(f"Selects by: {usual.selector} of {usual.column}" + (f", where {usual.keep}" if usual.keep else ""))
        print("Columns:")
        for column, text in scorer.columns.items():
            print(f"  {column}: {text}")
        print("Settings:" if fields else "Settings: none")
        for name, field in fields.items():
            given = "" if field.is_required() else f" = {field.get_default(call_default_factory=True)!r}"
            print(f"  {name}{given}: {' '.join((field.description or str(field.annotation)).split())}")
        return
    for name in SCORERS.names():
        scorer = SCORERS[name]
        print(f"{name}\n  paper: {scorer.paper}\n  needs: {needs(scorer)}")
        print(f"  cost: {scorer.cost}\n  columns: {', '.join(scorer.columns)}")


def _submit(args: Any) -> None:
    from tamis.config import read_config
    from tamis.pipelines.submit import from_environment, object_uri, schedule, submit
    from tamis.preflight import check, filled

    config = read_config(args.config, args.set)
    if args.object:
        config = config.model_copy(update={"pool": object_uri(args.object)})
    cluster = from_environment(args.endpoint, args.namespace, args.experiment, args.service_account)
    check(config)
    presets = args.pools or args.config.with_name("pools.yaml")
    if args.recurring:
        schedule(config, cluster, args.config.stem, args.recurring, presets=presets)
    else:
        submit(filled(config), cluster, presets=presets, wait=args.wait)


def _compile(args: Any) -> None:
    from tamis.pipelines.build import write

    stale = write(check=args.check, release=args.release, out=args.out)
    if args.check and stale:
        raise UserError(f"out of date: {', '.join(map(str, stale))}; run `tamis compile` and commit the result")
    print("\n".join(f"written: {path}" for path in stale) or "every compiled file is up to date")


if __name__ == "__main__":
    sys.exit(main())
