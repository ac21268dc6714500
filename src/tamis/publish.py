"""The publish step: a release holds a model, why its rows were selected, what it reached, and where it all came from.

    <workspace>/releases/<name>/<version>/
      model/           the tuned model; a published folder of its own, so its URI is the name of a model
      selection/       decisions.parquet: id, score and reason for every row of the pool; arm.json: how was selected
      report.html      also report.md and report.json
      manifest.json    every file with its digest, lineage, licences; written last

Within S3 the model is copied by the store itself. The rows that the model was trained on are not in a release, only
their ids: whether they may be passed on is for their licences to say.
"""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tamis import __version__, store
from tamis.errors import UserError
from tamis.pool.shards import write_json
from tamis.registration import register
from tamis.report.figures import LOWER_IS_BETTER
from tamis.settings import Settings, nearest

log = logging.getLogger("tamis")


class Publication(Settings):
    """What is published, and when."""

    only_if: Literal["better-than-random", "always"] = "better-than-random"
    """Publish only an arm that the report calls better than random, or in any case."""
    arm: str = ""
    """The arm to publish; the best by the report's first measure if empty."""
    licences: dict[str, str] = {}
    """Licence notes by source of the pool, and for the base model under `model`; kept in the manifest."""
    registry: str = ""
    """Address of a Kubeflow Model Registry that gets an entry, such as `http://model-registry-service.kubeflow:8080`."""


@dataclass(frozen=True)
class Release:
    """What became of a publication.

    Attributes:
        uri: Where it is, or would be.
        published: Whether it is there.
        arm: The arm that was published, empty if none.
        why: In a sentence, for a person.
        digest: Digest of the release's manifest, empty if not published.
    """

    uri: str
    published: bool
    arm: str
    why: str
    digest: str = ""


def release_uri(workspace: str, release: str) -> str:
    """Where a release is.

    Args:
        workspace: URI of the workspace.
        release: `name/version`.

    Raises:
        UserError: There is no workspace, or the name is none.
    """
    if not workspace:
        raise UserError("release: a release needs a workspace to be in; set workspace, such as s3://bucket/prefix")
    if release.count("/") != 1:
        raise UserError(f"release '{release}': write name/version, such as helpful-7b/1.0")
    return store.join(workspace, "releases", *release.split("/"))


def publish(
    *,
    figures: Path,
    page: Path,
    summary: Path,
    selections: Path,
    workspace: str,
    release: str,
    options: Publication | None = None,
    out: Path | None = None,
) -> Release:
    """Publishes the best arm of a run; again the same is a no-op.

    Args:
        figures: The report's figures; they also say where the models are.
        page: The report as HTML.
        summary: The report as Markdown.
        selections: What `select` wrote.
        workspace: URI under which releases are.
        release: `name/version`.
        options: What is published, and when.
        out: Gets what became of it, as JSON.

    Raises:
        UserError: No such arm, a model that is not there, other content under the same version, or another run
            publishes it at this moment.
        TamisError: Something did not get there whole; a rerun continues.
    """
    options = options or Publication()
    uri = release_uri(workspace, release)
    told = _figures(figures)
    arm, why = choose(told, options)
    digest = ""
    if arm:
        files = {f"selection/{name}": selections / arm / name for name in ("decisions.parquet", "arm.json")}
        files |= {"report.html": page, "report.md": summary, "report.json": figures}
        digest = _publish(told, arm, files, uri, release, options)
    log.info("%s to %s: %s", f"published arm {arm}" if arm else "not published", uri, why)
    result = Release(uri, bool(arm), arm, why, digest)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, asdict(result))
    return result


def _publish(
    told: Mapping[str, Any], arm: str, files: Mapping[str, Path], uri: str, release: str, options: Publication
) -> str:
    """Writes a release, if it is not there yet; the digest of its manifest."""
    source = str(told["arms"][arm]["evaluation"]["model"]["model"])
    with tempfile.TemporaryDirectory(prefix="tamis-release-") as folder, store.claim(uri, run="publish") as held:
        staged = Path(folder)
        for name, path in files.items():
            if not path.is_file():
                raise UserError(f"{path} is missing; give the folders that this run's steps wrote")
            (staged / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, staged / name)
        model = store.read_manifest(source) if _is_published(source) else store.describe(source)
        listed = model.dump()
        also = {f"model/{name}": one for name, one in model.files.items()}
        also[f"model/{store.MANIFEST}"] = (len(listed), hashlib.sha256(listed).hexdigest())
        about = _about(told, arm, source, model, release, options)
        wanted = store.describe(staged, about, also)
        if not _is_there(uri, wanted):
            if _is_published(source):
                store.copy_folder(source, store.join(uri, "model"))
            else:
                store.upload_folder(source, store.join(uri, "model"))
            held.check()
            store.upload_folder(staged, uri, about, also)
    if options.registry:
        register(options.registry, release, store.join(uri, "model"), _properties(about, wanted.digest))
    return wanted.digest


def choose(figures: Mapping[str, Any], options: Publication) -> tuple[str, str]:
    """The arm to publish, empty if none, and why.

    Raises:
        UserError: There is no such arm, or nothing was evaluated.
    """
    arms, measures = figures["arms"], figures["measures"]
    tuned = [name for name in arms if name != "base"]
    if options.arm and options.arm not in tuned:
        raise UserError(f"publication: no arm '{options.arm}' in the report; {nearest(options.arm, tuned)}")
    if not measures:
        raise UserError("publication: the report has no evaluation, so no arm is the best")
    measure = measures[0]
    of = {name: arms[name]["measures"][measure] for name in tuned if measure in arms[name]["measures"]}
    candidates = [name for name in of if options.arm in ("", name)]
    if options.only_if == "better-than-random":
        chance = figures["random_arms"]  # one draw may well be better than the others
        candidates = [name for name in candidates if of[name].get("verdict") == "better" and name not in chance]
    if not candidates:
        return "", f"{f'arm {options.arm} is not' if options.arm else 'no arm is'} better than random on {measure}"
    sign = 1 if measure in LOWER_IS_BETTER else -1
    best = min(candidates, key=lambda name: sign * of[name]["estimate"]["value"])
    verdict = of[best].get("verdict")
    return best, f"{f'{verdict} than random' if verdict else 'not compared with random'} on {measure}"


def _figures(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        found["arms"], found["measures"], found["pool"], found["random_arms"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not the report.json that `tamis report` writes") from error
    return found


def _is_published(source: str) -> bool:
    place = store.parse(source)
    return place.kind == "s3" or (Path(place.path) / store.MANIFEST).exists()


def _is_there(uri: str, wanted: store.Manifest) -> bool:
    """Whether this release is published already.

    Raises:
        UserError: Another one is, under the same version.
    """
    if not store.exists(store.join(uri, store.MANIFEST)):
        return False
    there = store.read_manifest(uri)
    if there.digest == wanted.digest:
        return True
    names = sorted(
        name for name in there.files.keys() | wanted.files.keys() if there.files.get(name) != wanted.files.get(name)
    )
    what = f"{', '.join(names[:3])}{' and more' if len(names) > 3 else ''}" if names else "its lineage or licences"
    raise UserError(f"{uri} is published already with other content ({what}); choose another version")


def _about(
    figures: Mapping[str, Any], arm: str, source: str, model: store.Manifest, release: str, options: Publication
) -> dict[str, Any]:
    """Lineage and licences; the same for the same run, so that publishing again changes nothing."""
    name, version = release.split("/")
    line = figures["arms"][arm]
    selection, base = line["selection"] or {}, figures["arms"].get("base")
    kept = ("method", "selector", "origin", "settings", "column", "keep", "seed", "budget", "selected", "rows")
    measures = {
        measure: {key: entry[key] for key in ("estimate", "against_random", "verdict", "items") if key in entry}
        for measure, entry in line["measures"].items()
    }
    parts = {key: value for key, value in figures["pool"].items() if isinstance(value, dict) and "digest" in value}
    return {
        "kind": "release",
        "name": name,
        "version": version,
        "tamis": __version__,
        "arm": arm,
        "measures": measures,
        "lineage": {
            "model": {"uri": source, "manifest": model.digest, "digest": line["evaluation"]["model"].get("digest")},
            "base": base["evaluation"]["model"] if base else None,
            "selection": {key: selection.get(key) for key in (*kept, "digest", "pool", "scores")},
            "rows": {key: {k: value.get(k) for k in ("rows", "digest")} for key, value in parts.items()},
        },
        "licences": {
            "model": options.licences.get("model", "not stated"),
            "sources": {
                source: {"rows": count, "licence": options.licences.get(source, "not stated")}
                for source, count in selection.get("sources", {}).items()
            },
        },
    }


def _properties(about: Mapping[str, Any], digest: str) -> dict[str, str | float]:
    """What a registry shows of a version."""
    selection = about["lineage"]["selection"]
    found: dict[str, str | float] = {
        "tamis": about["tamis"],
        "arm": about["arm"],
        "budget": str(selection["budget"]),
        "selected_rows": float(selection["selected"] or 0),
        "manifest_digest": digest,
    }
    for measure, entry in about["measures"].items():
        found[measure] = float(entry["estimate"]["value"])
        if "against_random" in entry:
            found[f"{measure}_against_random"] = float(entry["against_random"]["value"])
            found[f"{measure}_verdict"] = str(entry["verdict"])
    return found
