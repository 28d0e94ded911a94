"""What an experiment needs before it starts: calibrated specs, and, where a user brings nothing, small originals.

The paper leaves the rewriters' parameters open (B, step, weights, A, alpha for GTSRB). They are chosen here by
`variegate.experiments.calibration`, on training images only, for the first original of a study, and used for all.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import save

from variegate.data.catalog import load_dataset
from variegate.errors import ConfigurationError, FormatError, NotFoundError
from variegate.evaluation.progress import Progress, silent
from variegate.experiments.calibration import calibrate_spec
from variegate.experiments.paper.study import REWRITERS, StudySource
from variegate.files import read_bounded, write_atomic
from variegate.manifest import ModelManifest
from variegate.models.architectures.catalog import build_architecture
from variegate.models.classifier import Classifier
from variegate.models.loading import WEIGHTS_FILE, load_classifier, prepare_import
from variegate.training import train_classifier
from variegate.types import check_identifier

if TYPE_CHECKING:
    from variegate.authority.authority import Authority

_ORIGINALS, _EPOCHS = 3, 8
_CALIBRATION_IMAGES, _ATTACK_IMAGES, _ATTACK_QUERIES = 2048, 24, 2000
_LIMIT = 2**24


def specs_for(
    folder: Path,
    original: Classifier,
    training_images: Callable[[], npt.NDArray[np.float32]],
    *,
    rewriters: Sequence[str] = REWRITERS,
    given: Mapping[str, Mapping[str, Any]],
    max_change: float,
    attack_images: int,
    attack_queries: int,
    seed: int,
    progress: Progress | None = None,
) -> tuple[dict[str, Mapping[str, Any]], dict[str, Any]]:
    """Return the spec of each rewriter, and by rewriter how it was chosen.

    Args:
        folder: where specs that are calibrated here are kept, for the next experiment.
        original: the study's first.
        training_images: loads float32 (N, *input_shape), within the original's bounds; called only if it is needed.
        rewriters: which of `REWRITERS`.
        given: rewriter -> calibration record or {"chosen": spec} of specs that exist already.
        max_change: budget of a calibration here: the largest share of labels that a copy may change.
        attack_images, attack_queries: size of its attacks.
        seed: of it.
        progress: is told what is being done.

    Raises:
        FormatError: a kept calibration cannot be read.
        ConfigurationError: there is no rewriter, or one that the experiments do not know, or one has no parameters
            within the budget.
    """
    if not rewriters or set(rewriters) - set(REWRITERS) or len(set(rewriters)) < len(rewriters):
        raise ConfigurationError(
            f"expected rewriters among {', '.join(REWRITERS)}, each once; got {', '.join(rewriters) or 'none'}"
        )
    specs: dict[str, Mapping[str, Any]] = {}
    notes: dict[str, Any] = {}
    images: npt.NDArray[np.float32] | None = None
    settings = (original.digest, max_change, seed, attack_images, attack_queries)
    for rewriter in (name for name in REWRITERS if name in rewriters):
        record = given.get(rewriter) or _kept(folder / f"{rewriter}.json", settings)
        if record is None:
            images = images if images is not None else training_images()
            record = calibrate_spec(
                original,
                images,
                rewriter=rewriter,
                max_change=max_change,
                attack_images=attack_images,
                attack_queries=attack_queries,
                seed=seed,
                progress=progress,
            ).record.to_dict()
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / f"{rewriter}.json", (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
        specs[rewriter] = dict(record["chosen"])
        shown = ("inputs", "max_change", "seed", "attack", "boundary_distance", "objective")
        notes[rewriter] = {
            "search": _search(record, here=rewriter not in given),
            **{name: record.get(name) for name in shown},
            "tried": _tried(record.get("candidates") or []),
        }
    return specs, {"specs": notes}


def _search(record: Mapping[str, Any], *, here: bool) -> str:
    """Say how a spec was chosen, as far as its record tells."""
    if not record.get("candidates"):
        return "by hand: the spec has no record of a calibration"
    if here:
        return "variegate.experiments.calibration, on training images"
    data = record.get("data") or {}
    if not data.get("split"):
        return "variegate calibrate; its record does not say on which images (by default training images)"
    return f"variegate calibrate, on {data.get('images')} images of the {data['split']} split of {data.get('name')}"


def _tried(candidates: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Say what a calibration tried, and what became of each."""
    said = []
    for one in candidates:
        parts = [f"strength {one['strength']:g}"]
        if one.get("quantization_step") is not None:
            parts += [f"step {one['quantization_step']:g}", f"{one['messages_per_class']} messages"]
        end = (
            "chosen" if one.get("chosen") else "masks" if one.get("masks") else "" if one["feasible"] else "too costly"
        )
        said.append(", ".join(parts) + (f": {end}" if end else ""))
    return said or None


def home_study(
    text: str,
    desk: "Authority",
    folder: Path,
    *,
    rewriters: Sequence[str],
    max_change: float,
    seed: int,
    device: str,
    progress: Progress | None = None,
) -> tuple[StudySource, dict[str, Any]]:
    """Return a study of originals of a seller's home, and what its records say of the specs.

    Args:
        text: NAME=DATA:MODEL,MODEL as the command line takes it.
        desk: the home.
        folder: where specs that are calibrated here are kept, in a folder of the study's name.
        rewriters: by name, or by the name of a saved spec.
        max_change: budget of changed labels for rewriters that the home has no spec for.
        seed: of the study.
        device: where the networks run.
        progress: is told what is being done.

    Raises:
        ConfigurationError: the text is malformed, originals repeat, or two specs are of one rewriter.
        NotFoundError: there is no such original, spec or data set.
    """
    name, equals, rest = text.partition("=")
    data, colon, models = rest.rpartition(":")
    names = [model.strip() for model in models.split(",") if model.strip()]
    if not (equals and colon and data and names):
        raise ConfigurationError(f"--study is written NAME=DATA:MODEL,MODEL, such as cifar10=data/:net-0; got {text!r}")
    check_identifier(name, "a study's name")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"the originals of a study must differ; got {', '.join(names)}")
    originals = tuple((desk.model(model), desk.model_folder(model)) for model in names)
    given: dict[str, Any] = {}
    missing: list[str] = []
    for wanted in rewriters:
        try:
            saved = desk.find_spec(wanted, model=names[0])
        except NotFoundError:
            if wanted not in REWRITERS:
                raise
            missing.append(wanted)
            continue
        rewriter = str(saved.spec["rewriter"])
        if rewriter in given or rewriter in missing:
            raise ConfigurationError(
                f"--rewriters names two specs of {rewriter}; give one, and the other to another run"
            )
        given[rewriter] = {**(saved.record or {}), "chosen": saved.spec}
    original = desk.original(names[0]).to(device)
    specs, note = specs_for(
        folder / name / "specs",
        original,
        lambda: _training_images(data, original),
        rewriters=(*given, *missing),
        given=given,
        max_change=max_change,
        attack_images=_ATTACK_IMAGES,
        attack_queries=_ATTACK_QUERIES,
        seed=seed,
        progress=progress,
    )
    source = StudySource(name=name, data=data, originals=originals, specs=specs, seed=seed, device=device)
    return source, note


def _training_images(data: str, original: Classifier) -> npt.NDArray[np.float32]:
    images = load_dataset(data, split="train", limit=_CALIBRATION_IMAGES).images
    if (original.bounds.lower, original.bounds.upper) != (0.0, 1.0):
        images[...] = images * original.bounds.range + original.bounds.lower
    return images


def digits_study(
    folder: Path,
    *,
    rewriters: Sequence[str] = REWRITERS,
    seed: int = 0,
    attack_images: int = 8,
    attack_queries: int = 300,
    device: str = "cpu",
    progress: Progress | None = None,
) -> tuple[StudySource, dict[str, Any]]:
    """Return a study of scikit-learn's handwritten digits, whose three small originals are trained now, in seconds.

    Args:
        folder: for the originals and specs; what is there already is taken over.
        rewriters: which of `REWRITERS`.
        seed: of the study; the originals are trained with the seeds 0, 1 and 2.
        attack_images, attack_queries: of the calibration.
        device: where calibration and study run; the originals are trained on the CPU.
        progress: is told what is being done.
    """
    say = progress or silent
    train = load_dataset("digits", split="train")
    originals = []
    for number in range(_ORIGINALS):
        place = folder / f"digits-s{number}"
        if not (place / WEIGHTS_FILE).is_file():
            say(f"training original {number + 1} of {_ORIGINALS}", number, _ORIGINALS)
            module = build_architecture("digits_cnn", {"num_classes": 10, "in_channels": 1}, seed=number)
            module = train_classifier(module, train.images, train.labels, epochs=_EPOCHS, seed=number)
            place.mkdir(parents=True, exist_ok=True)
            state = {name: value.contiguous() for name, value in module.state_dict().items()}
            write_atomic(place / WEIGHTS_FILE, save(state))
        originals.append((_digits_manifest(place, number), place))
    first = load_classifier(*originals[0]).to(device)
    specs, notes = specs_for(
        folder / "specs",
        first,
        lambda: train.images,
        rewriters=rewriters,
        given={},
        max_change=0.02,
        attack_images=attack_images,
        attack_queries=attack_queries,
        seed=seed,
        progress=progress,
    )
    source = StudySource(
        name="digits", data="digits", originals=tuple(originals), specs=specs, seed=seed, device=device
    )
    return source, notes


def _digits_manifest(place: Path, number: int) -> ModelManifest:
    imported = prepare_import(
        place / WEIGHTS_FILE, name=f"digits-s{number}", architecture="digits_cnn", labels=10, input_shape=(1, 8, 8)
    )
    return imported.manifest


def _kept(path: Path, settings: tuple[object, ...]) -> dict[str, Any] | None:
    """Return a calibration that was kept, if it is of this original with these settings."""
    if not path.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(read_bounded(path, _LIMIT))
        attack, chosen = record["attack"], record["chosen"]
        found = (record["model_digest"], record["max_change"], record["seed"], attack["images"], attack["queries"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is no calibration; delete it to calibrate again") from error
    return record if chosen and found == settings else None
