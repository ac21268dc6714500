"""What the commands of `tamis` do: each reads its options, makes one call of the library and says what came of it.

Nothing heavy is imported before a command needs it, so `--help` answers at once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tamis.errors import UserError


def _values(changes: Sequence[str]) -> dict[str, Any]:
    from tamis.config import assign

    values: dict[str, Any] = {}
    for change in changes:
        assign(values, change)
    return values


def demo(args: Any) -> None:
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


def run(args: Any) -> None:
    """Runs the pipeline on this machine, as a file of parameters says."""
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


def prepare(args: Any) -> None:
    """Prepares a pool and says what was left out, and why."""
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


def fit(args: Any) -> None:
    """Lets methods learn from a target."""
    from tamis.scoring import fit

    scoring, pool, target = _scoring(args)
    learned = fit(pool, args.out, scoring, target)
    print(f"learned by {', '.join(learned) or 'no method: none of them needs to'}; written to {args.out}")


def score(args: Any) -> None:
    """Scores a pool and says how fast."""
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


def advise(args: Any) -> None:
    """Predicts how many rows a task needs."""
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


def select(args: Any) -> None:
    """Selects rows by scores."""
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


def finetune(args: Any) -> None:
    """Fine-tunes a model on selected rows."""
    from tamis import settings
    from tamis.finetune import TrainingSettings, finetune

    options = settings.parse(TrainingSettings, _values(args.set), "settings of finetune")
    result = finetune(args.selected, args.model, args.out, options, template=args.template, workspace=args.workspace)
    print(f"loss {result.final_loss:.4f} after {result.seconds:.0f} s; the model is in {args.out}")


def evaluate(args: Any) -> None:
    """Evaluates a model and prints a summary."""
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


def report(args: Any) -> None:
    """Compares evaluated arms and prints the summary."""
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


def publish(args: Any) -> None:
    """Publishes the best arm, or says why not."""
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


def store(args: Any) -> None:
    """Starts, stops or shows the S3 store on this machine."""
    from tamis.store import server

    if args.action == "down":
        print("stopped" if server.down(args.dir) else "it did not run")
        return
    at = server.up(args.dir) if args.action == "up" else server.status(args.dir)
    if at is None:
        raise UserError(f"no store runs in {args.dir}; start it with tamis store up --dir {args.dir}")
    print(f"{at.endpoint} with the bucket s3://{server.BUCKET}; use it in a shell with `. {args.dir / 'env'}`")


def seal(args: Any) -> None:
    """Gives a folder in a store its manifest."""
    from tamis import store

    manifest = store.seal(args.uri)
    print(f"{args.uri}: {len(manifest.files)} files, {manifest.size / 1e6:,.0f} MB, digest {manifest.digest}")


def methods(args: Any) -> None:
    """Lists the methods, or shows one."""
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


def submit(args: Any) -> None:
    """Starts or schedules a run on a cluster."""
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


def compile(args: Any) -> None:
    """Compiles components and pipelines, or says whether their files are up to date."""
    from tamis.pipelines.build import write

    stale = write(check=args.check, release=args.release, out=args.out)
    if args.check and stale:
        raise UserError(f"out of date: {', '.join(map(str, stale))}; run `tamis compile` and commit the result")
    print("\n".join(f"written: {path}" for path in stale) or "every compiled file is up to date")
