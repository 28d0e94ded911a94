"""`variegate audit cross-check`: variegate's attacks beside ART's and Foolbox's, on the same images and budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from variegate.cli.desk import open_desk
from variegate.cli.entrypoint import SellerCodeCommand, typed_command
from variegate.cli.experiment import choose_device, load_images, scale_to
from variegate.cli.options import (
    HOME,
    MAX_COUNT,
    AsJson,
    Data,
    DeviceChoice,
    DeviceOption,
    HomeFolder,
    NormOption,
    Out,
    Resume,
    Seed,
    Split,
    examples,
    required_folder,
    split_names,
)
from variegate.cli.output import print_record, talk
from variegate.cli.running import resumable
from variegate.errors import ConfigurationError
from variegate.types import Norm

if TYPE_CHECKING:
    from variegate.authority.authority import Authority
    from variegate.experiments.attack import Target


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Chosen:
    """The attacked one first, then the victims."""

    names: tuple[str, ...]
    targets: "Sequence[Target]"
    digest: str
    rewriter: dict[str, Any] | None


def add_to(group: typer.Typer) -> None:
    """Add the command to `variegate audit`."""
    group.command(
        "cross-check",
        cls=SellerCodeCommand,
        epilog=examples(
            "variegate audit cross-check --model net --rewriter-spec qim --data cifar10/ --out check/",
            "variegate audit cross-check --model net --data cifar10/ --engines art --attacks hsj,boundary --out check/",
            "variegate audit cross-check --copy vg1-0123456789abcdef0123 --copy vg1-fedcba98765432100123 "
            "--data cifar10/ --images 50 --queries 5000 --out check/",
        ),
    )(cross_check)


def cross_check(
    context: typer.Context,
    *,
    model: Annotated[str | None, typer.Option("--model", help="The original, by its name in the home.")] = None,
    rewriter_spec: Annotated[
        str | None,
        typer.Option("--rewriter-spec", help="Attack an experimental copy of this spec, in place of the original."),
    ] = None,
    copy: Annotated[
        list[str] | None,
        typer.Option("--copy", help="Attack this issued copy; repeat to name victims, copies of the same spec."),
    ] = None,
    victims: Annotated[
        int, typer.Option("--victims", min=0, max=MAX_COUNT, help="Experimental copies to try the results on.")
    ] = 4,
    data: Data,
    split: Split = "test",
    pool: Annotated[int | None, typer.Option("--pool", min=1, help="Read only so many images.")] = None,
    images: Annotated[int, typer.Option("--images", min=1, max=MAX_COUNT, help="How many images to attack.")] = 10,
    queries: Annotated[
        int, typer.Option("--queries", min=1, max=MAX_COUNT, help="Labels that may be asked for each image.")
    ] = 1000,
    engines: Annotated[str, typer.Option("--engines", help='Libraries, with commas: "art,foolbox".')] = "art,foolbox",
    attacks: Annotated[
        str, typer.Option("--attacks", help="Attacks, with commas; all that a library has, too, if left out.")
    ] = "",
    norm: NormOption = Norm.L2,
    seed: Seed = 0,
    device: DeviceOption = DeviceChoice.CPU,
    out: Out = None,
    resume: Resume = None,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Do variegate's attacks find what ART's and Foolbox's find?

    Attacks the original, an experimental copy (--rewriter-spec) or an issued one with each engine, on the same images
    with the same budget, counts each row that is labelled, takes the closest adversarial among them, and shows it to
    the other copies. The folder receives record.json; an interrupted cross-check goes on with --resume.
    """
    folder = required_folder(out, resume)
    if (model is None) == (not copy):
        raise ConfigurationError("expected --model or --copy, and not both, to say what is attacked")
    if rewriter_spec is not None and model is None:
        raise ConfigurationError("--rewriter-spec names the copies of a --model; issued copies have theirs")
    where = choose_device(device)
    images_read = load_images(data, split, limit=pool)
    from variegate.experiments.cross_check import CrossCheck
    from variegate.experiments.cross_check import cross_check as run

    with open_desk(home, read_only=True) as desk:
        if model is not None:
            saved = None if rewriter_spec is None else desk.find_spec(rewriter_spec, model=model)
            chosen = _experimental(desk, model, None if saved is None else saved.spec, victims, seed, where)
        else:
            chosen = _issued(desk, copy or [], where)
    images_read = scale_to(images_read, chosen.targets[0].bounds)
    spec = CrossCheck(
        target_name=chosen.names[0],
        target_digest=chosen.digest,
        victim_names=chosen.names[1:],
        data_name=images_read.name,
        split=split,
        libraries=split_names(engines),
        attacks=split_names(attacks),
        images=images,
        queries=queries,
        norm=norm if norm is not None else Norm.L2,
        seed=seed,
        rewriter=chosen.rewriter,
        command=typed_command(context),
    )
    with resumable(folder, "shards/*.safetensors") as progress:
        record = run(
            spec,
            target=chosen.targets[0],
            victims=chosen.targets[1:],
            images=images_read.images,
            labels=images_read.labels,
            out=folder,
            device=where,
            progress=progress,
        )
    print_record(record, as_json=as_json)
    talk(f"wrote {folder / 'record.json'}")


def _experimental(
    desk: "Authority", model: str, spec: Mapping[str, Any] | None, victims: int, seed: int, device: str
) -> _Chosen:
    """Return the original alone, or experimental copies of a spec."""
    from variegate.evaluation.subjects import experiment_heads
    from variegate.rewriters.base import RewrittenCopy
    from variegate.rewriters.catalog import spec_from_dict

    manifest = desk.model(model)
    original = desk.original(model).to(device)
    if spec is None:
        return _Chosen(names=(model,), targets=[original], digest=manifest.digest, rewriter=None)
    rewriter = spec_from_dict(spec)
    heads = experiment_heads(original, rewriter, copies=1 + victims, seed=seed)
    return _Chosen(
        names=tuple(f"copy {number}" for number in range(len(heads))),
        targets=[RewrittenCopy(original, head) for head in heads],
        digest=f"{manifest.digest} {rewriter.digest} {seed}",
        rewriter=rewriter.to_dict(),
    )


def _issued(desk: "Authority", copies: Sequence[str], device: str) -> _Chosen:
    """Return issued copies, which must be of one original and spec."""
    manifests = [desk.copy_manifest(copy) for copy in copies]
    if len(set(copies)) < len(copies):
        raise ConfigurationError("each --copy must be another copy; one was given twice")
    if len({(each.model_digest, each.spec_digest) for each in manifests}) > 1:
        raise ConfigurationError("the copies must be of one original and one spec, so that they differ by key alone")
    loaded = []
    for copy in copies:
        one = desk.load_copy(copy)
        one.original.to(device)
        one.head.to(device)
        loaded.append(one)
    return _Chosen(
        names=tuple(copies),
        targets=loaded,
        digest=f"{manifests[0].digest} {desk.secret().identifier}",
        rewriter=dict(manifests[0].spec),
    )
