"""Checks of a whole run before anything expensive starts: names, settings, files, budget."""

from collections.abc import Iterable
from pathlib import Path

from tamis import settings, store
from tamis.budget import AdviceSettings
from tamis.config import RunConfig
from tamis.errors import UserError
from tamis.evaluate import EvaluationSettings
from tamis.finetune import TrainingSettings
from tamis.finetune.run import check_workspace
from tamis.pool import inputs, shards
from tamis.pool.prepare import PrepareSettings
from tamis.publish import Publication, release_uri
from tamis.registration import check_address
from tamis.scoring import ScoreSettings, Scoring


def preflight(config: RunConfig) -> str:
    """First step of a run: `check`, then `fingerprint`, so that both also hold for runs that no command line started.

    Raises:
        UserError: The first thing that is wrong.
    """
    check(config)
    return fingerprint(config)


def check(config: RunConfig) -> None:
    """Refuses a run that would fail later.

    Raises:
        UserError: The first thing that is wrong.
    """
    from tamis.selecting import check_arms

    for name in ("pool", "target", "heldout"):
        value = getattr(config, name)
        if value:
            inputs.files(value)
    settings.parse(PrepareSettings, config.preparation, "preparation")
    check_workspace(settings.parse(TrainingSettings, config.training, "training"), config.workspace)
    evaluation = settings.parse(EvaluationSettings, config.evaluation, "evaluation")
    if not config.heldout and not evaluation.tasks:
        raise UserError("nothing to evaluate on: give heldout rows, or tasks in evaluation")
    if config.workspace:
        store.exists(store.join(config.workspace, "any"))  # it may be looked at; a missing bucket or key is said here
    publication = settings.parse(Publication, config.publication, "publication")
    if config.release:
        release_uri(config.workspace, config.release)
    if publication.registry:
        check_address(publication.registry)
    settings.parse(AdviceSettings, config.advice, "advice").coefficients  # noqa: B018  refuses half a line
    options = settings.parse(ScoreSettings, config.scoring, "scoring")
    if config.model in options.trust_remote_code:
        raise UserError("scoring.trust_remote_code: a model that needs code of its own can be scored with, not trained")
    scoring = Scoring(config.methods, config.model, config.template, config.method_settings, options)
    scoring.check(Path(config.target) if config.target else None)
    check_arms(
        methods=config.methods,
        budget=config.budget,
        random_seeds=config.random_seeds,
        extra_arms=config.extra_arms,
        method_settings=config.method_settings,
        selectors=config.selectors,
    )


def fingerprint(config: RunConfig) -> str:
    """Digest of the files that a configuration names, of this program and of the configuration's own fingerprint.

    Steps take it as a parameter: a cache compares parameters, and a name stays the same when its content changes.
    """
    kept = [inputs.digest(inputs.files(value)) for value in (config.pool, config.target, config.heldout) if value]
    named: list[Path] = []
    for value in map(str, (config.model, *config.evaluation.get("tasks", []))):
        if value and store.parse(value).kind != "local":
            kept.append(store.identify(value))
        elif value and Path(value).exists():
            named += _contents(Path(value))
    program = Path(__file__).parent
    return shards.combined_digest(
        [config.fingerprint, *kept, *_digests(named), *_digests(sorted(program.rglob("*.py")))]
    )


def filled(config: RunConfig) -> RunConfig:
    """The configuration with its fingerprint, and the run's digest where the release's name wants it."""
    found = fingerprint(config)
    digest = shards.combined_digest([found, config.model_dump_json()])[:8]
    return config.model_copy(update={"fingerprint": found, "release": config.release.replace("{digest}", digest)})


def _contents(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _digests(paths: Iterable[Path]) -> list[str]:
    return [f"{path.name}:{shards.file_digest(path)}" for path in paths]
