"""Which copies a collusion audit compares: its spec, and the settings that follow from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, final

from variegate.attacks.base import Attack
from variegate.attacks.white_box.base import WhiteBoxAttack
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.errors import ConfigurationError
from variegate.evaluation.collusion import Member
from variegate.evaluation.collusion_rates import MOST_VICTIMS
from variegate.evaluation.subjects import experiment_heads
from variegate.models.classifier import Classifier
from variegate.rewriters.base import AbstractSpec, RewrittenCopy

EnsembleKind = Literal["mean", "log", "vote"]

ENSEMBLES: tuple[EnsembleKind, ...] = ("mean", "log", "vote")
"""Mean of scores; the same, attacked on its logarithm; majority of labels."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CollusionSpec:
    """What is audited, and how hard.

    Args:
        model_name, data_name, split: names for the record.
        rewriters: specs by name.
        colluders: the numbers of colluders (r), each at least 1.
        victims: copies that are shown what was found, at most.
        images: inputs that are attacked.
        queries: budget for each input of an attack that sees labels alone.
        attack: on the ensemble or the vote. DeepFool with ART's semantics considers all classes, whatever its
            `candidates` (`with_all_classes`).
        ensemble: what the colluders make of their copies.
        seed: decides images, the copies' experiment keys and the attack's noise.
        subjects: one text for each original that identifies it; binds shards to more than the weights.
        command: what was typed, for the record.
    """

    model_name: str
    data_name: str
    split: str
    rewriters: Mapping[str, AbstractSpec] = field(hash=False)
    colluders: tuple[int, ...]
    victims: int = MOST_VICTIMS
    images: int = 50
    queries: int = 1000
    attack: Attack | WhiteBoxAttack = field(default_factory=lambda: DeepFool(semantics="art", scores="probabilities"))
    ensemble: EnsembleKind = "mean"
    seed: int = 0
    subjects: tuple[str, ...] = ()
    command: str = ""

    def __post_init__(self) -> None:
        if not self.colluders or min(self.colluders) < 1:
            got = ", ".join(map(str, self.colluders)) or "none"
            raise ConfigurationError(f"collusion needs numbers of colluders of at least 1; got {got}")
        if min(self.victims, self.images, self.queries) < 1:
            raise ConfigurationError(
                f"victims, images and queries must be at least 1; got {self.victims}, {self.images} and {self.queries}"
            )
        if not 0 <= self.seed < 2**31:
            raise ConfigurationError(f"the seed must be from 0 to 2147483647; got {self.seed}")
        if self.ensemble not in ENSEMBLES:
            raise ConfigurationError(f"the ensemble must be {', '.join(ENSEMBLES)}; got {self.ensemble!r}")
        white_box = isinstance(self.attack, WhiteBoxAttack)
        if white_box == (self.ensemble == "vote"):
            sees = "scores and gradients, which a majority vote has not" if white_box else "labels alone: use the vote"
            raise ConfigurationError(f"{self.attack.name} sees {sees}")


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """One setting with one rewriter or none.

    Attributes:
        number: 1 for independent trainings, 2 for one copy of each of them, 3 for copies of one original.
        name: of the rewriter, as it was given.
        spec: of the rewriter.
        copies: of colluders and victims.
        originals: for each copy what it was made of.
        labels: a name for each copy.
        colluders: the numbers of colluders.
    """

    number: int
    name: str | None
    spec: AbstractSpec | None
    copies: tuple[Member, ...]
    originals: tuple[Classifier, ...]
    labels: tuple[str, ...]
    colluders: tuple[int, ...]


def with_all_classes(attack: Attack | WhiteBoxAttack, num_classes: int) -> Attack | WhiteBoxAttack:
    """Return the attack; DeepFool with ART's semantics with all classes as candidates.

    ART's candidates are the union of the best labels of all inputs of a call, and where that is not all classes, it
    reads an input's own score from another class (`variegate.attacks.white_box.deepfool`). Over the many images of one
    call, as the paper ran it, the union is all classes; over a block of few images of a task with many classes it is
    not, and results would depend on how images are cut into blocks.
    """
    if isinstance(attack, DeepFool) and attack.semantics == "art" and attack.candidates < num_classes:
        return replace(attack, candidates=num_classes)
    return attack


def settings_of(spec: CollusionSpec, trained: Sequence[Classifier]) -> list[Setting]:
    """Return all settings that there are classifiers for.

    Raises:
        ConfigurationError: there is neither a rewriter nor another training, or fewer trainings than any number of
            colluders needs.
    """
    if not spec.rewriters and len(trained) < 2:
        raise ConfigurationError("collusion needs different copies: expected a rewriter or an independent training")
    found = []
    reached = tuple(r for r in spec.colluders if r < len(trained))
    if len(trained) > 1:
        if not reached:
            raise ConfigurationError(
                f"{min(spec.colluders)} colluders with independent trainings need {min(spec.colluders) + 1} of them, "
                f"one of them the victim's; got {len(trained)} with the original"
            )
        numbered = tuple(f"training {i}" for i in range(len(trained)))
        found.append(_setting(1, None, None, trained, list(trained), numbered, reached))
        for name, rewriter in spec.rewriters.items():
            copies = [_copies(one, rewriter, 1, spec.seed)[0] for one in trained]
            labels = tuple(f"training {i}, copy 0" for i in range(len(trained)))
            found.append(_setting(2, name, rewriter, trained, copies, labels, reached))
    sold = max(spec.colluders) + spec.victims
    for name, rewriter in spec.rewriters.items():
        copies = _copies(trained[0], rewriter, sold, spec.seed)
        labels = tuple(f"copy {i}" for i in range(sold))
        found.append(_setting(3, name, rewriter, [trained[0]] * sold, copies, labels, spec.colluders))
    return found


def _setting(
    number: int,
    name: str | None,
    rewriter: AbstractSpec | None,
    originals: Sequence[Classifier],
    copies: Sequence[Member],
    labels: tuple[str, ...],
    colluders: tuple[int, ...],
) -> Setting:
    return Setting(
        number=number,
        name=name,
        spec=rewriter,
        copies=tuple(copies),
        originals=tuple(originals),
        labels=labels,
        colluders=colluders,
    )


def _copies(original: Classifier, rewriter: AbstractSpec, count: int, seed: int) -> list[Member]:
    heads = experiment_heads(original, rewriter, copies=count, seed=seed)
    return [RewrittenCopy(original, head) for head in heads]
