"""A library's attack as one of variegate's: one step of the driver is the whole attack on one image.

So inputs are checked, queries are counted and budgets kept by the same code as for variegate's own attacks, a result
has the same statuses, and a run can be interrupted between two images. Images go one at a time: ART loops over them
anyway, and Foolbox's HopSkipJump normalises its step over the batch, so that its result depends on the batch's size.

What ends an attack on an image, and its status then:

- the library's attack returns: SUCCESS, or NO_STARTING_POINT where nothing adversarial was seen;
- the budget is spent: SUCCESS with rule "closest" and something adversarial seen, else BUDGET_EXHAUSTED;
- the library raises an error (Foolbox does where it finds no start): as if it had returned nothing; the log says what.

`AttackResult.iterations` counts images, not the library's iterations, which are its own affair.
"""

import itertools
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Literal, final
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from variegate.adapters.closest import BudgetSpentError, OneImage, query_marks
from variegate.attacks.base import (
    AttackProblem,
    AttackResult,
    AttackState,
    Trajectory,
    fill_status,
    fresh_state,
    keep_closest,
    replace_rows,
)
from variegate.attacks.driver import run_attack
from variegate.data.decode import require
from variegate.errors import ConfigurationError, InputError
from variegate.oracles.hard_label import Misclassified, MisclassifiedAs, Oracle
from variegate.types import Norm, Status

LIBRARIES = {"art": "adversarial-robustness-toolbox", "foolbox": "foolbox"}
"""Short name (also that of the extra) -> distribution."""


def library_versions() -> dict[str, str | None]:
    """Return the versions by short name; None where a library is not installed."""
    found: dict[str, str | None] = {}
    for name, distribution in LIBRARIES.items():
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:
            found[name] = None
    return found


@contextmanager
def seeded_libraries(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed Python's, NumPy's and PyTorch's global generators inside the block, and put them back after it.

    Inside, `np.random.RandomState()` without a seed, of which ART's attacks make one for each image, gets a seed as
    well. The generators belong to the process: nothing else may draw from them in another thread meanwhile.

    Args:
        seed: from 0 to 2**32 - 1.
        device: where the model is; of a CUDA device, its generator too.
    """
    device = torch.device(device)
    made = (int(np.random.SeedSequence((seed, number)).generate_state(1)[0]) for number in itertools.count(1))
    kind = np.random.RandomState

    class _Seeded(kind):  # type: ignore[misc, valid-type]  # a class in a variable: the name is replaced below
        def __init__(self, given: int | None = None) -> None:
            super().__init__(next(made) if given is None else given)

    pythons, numpys, torchs = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    cudas = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the libraries draw from the legacy generators
    torch.default_generator.manual_seed(seed)
    if cudas is not None:
        torch.cuda.manual_seed(seed)
    try:
        with mock.patch.object(np.random, "RandomState", _Seeded):
            yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)  # noqa: NPY002
        torch.set_rng_state(torchs)
        if cudas is not None:
            torch.cuda.set_rng_state(cudas, device)


_LOG = logging.getLogger(__name__)

Rule = Literal["closest", "returned"]
"""Which adversarial counts: the closest row that the model labelled within the budget, or what the library returned."""

_FAILURES = (ArithmeticError, AssertionError, IndexError, TypeError, ValueError)  # how libraries say that they cannot


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Image:
    """One image under attack.

    Attributes:
        clean: float32 (1, *input_shape).
        label: int64 (1,): the correct label, or the one aimed at if `targeted`.
        targeted: which of both.
        start: float32 (1, *input_shape), believed adversarial, or None.
    """

    clean: Tensor
    label: Tensor
    targeted: bool
    start: Tensor | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryAttack:
    """An `Attack` that hands each image to a library.

    Args:
        library: its name and version.
        attack: the name of its attack.
        settings: its hyper-parameters as text; with the two above, what a checkpoint is bound to.
        run: attacks one image through the module, and returns what the library returns, (1, *input_shape).
        norm: how distances are measured; what the library makes small is its own setting.
        rule: which adversarial counts.
        kept: receives, for each position, the distances within each mark of `query_marks` (rule "closest").
    """

    revision: ClassVar[int] = 1

    library: str
    attack: str
    settings: str
    run: Callable[[OneImage, Image], Tensor] = field(repr=False, compare=False)
    norm: Norm = Norm.L2
    rule: Rule = "closest"
    kept: dict[int, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.rule not in ("closest", "returned"):
            raise ConfigurationError(f'rule must be "closest" or "returned"; got {self.rule!r}')

    @property
    def name(self) -> str:
        """The library's and the attack's."""
        return f"{self.library} {self.attack}"

    def init(self, oracle: Oracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Ask for nothing yet.

        Raises:
            ConfigurationError: the oracle has no budget, which is what ends a library's attack.
        """
        if oracle.budget is None:
            raise ConfigurationError(f"{self.name} is ended by the budget; got an oracle without one: give it a budget")
        return fresh_state(problem, status)

    def step(self, oracle: Oracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Attack the first image that has not been attacked."""
        rows = state.running[:1]
        row = int(rows)
        image = OneImage(
            oracle,
            row,
            problem.inputs[rows],
            problem.criterion,
            checkpoints=query_marks(oracle.budget or 1),
            norm=self.norm,
            keep_back=1 if self.rule == "returned" else 0,
        )
        returned, spent = self._attack(image, problem, row)
        found = torch.isfinite(image.seen.sizes).to(rows.device)
        status = Status.NO_STARTING_POINT
        if bool(found):
            status = Status.SUCCESS  # which the driver corrects where nothing counts in the end
        elif spent or int(oracle.remaining()[row]) == 0:
            status = Status.BUDGET_EXHAUSTED
        points = image.seen.points
        if self.rule == "returned":
            points, found = self._check(oracle, problem, rows, returned)
            status = Status.SUCCESS if bool(found) else status
        else:
            self.kept[row] = image.seen.within()[:, 0]
        state = keep_closest(problem, state, rows[found], points[found], self.norm)
        return replace(
            state,
            iteration=state.iteration + 1,
            points=replace_rows(state.points, rows[found], points[found]),
            status=fill_status(state.status, rows, status),
        )

    def _attack(self, image: OneImage, problem: AttackProblem, row: int) -> tuple[Tensor | None, bool]:
        """Return what the library returned (None if it did not), and whether the budget ended it."""
        question = Image(
            clean=problem.inputs[row : row + 1].clone(),
            label=_wanted(problem)[row : row + 1],
            targeted=problem.criterion.targeted,
            start=None if problem.starting_points is None else problem.starting_points[row : row + 1].clone(),
        )
        try:
            with seeded_libraries(_seed(problem, row), image.oracle.device):
                return self.run(image, question), False
        except BudgetSpentError:
            return None, True
        except (InputError, *_FAILURES) as failure:
            if image.answers == 0:
                raise ConfigurationError(f"{self.name} failed before its first question: {failure}") from failure
            _LOG.info("%s ended on image %d with %s: %s", self.name, row, type(failure).__name__, failure)
            return None, False

    def _check(
        self, oracle: Oracle, problem: AttackProblem, rows: Tensor, returned: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Ask once for what the library returned, with the query that was kept back; return it, and bool (1,)."""
        clean = problem.inputs[rows]
        nothing = torch.zeros(1, dtype=torch.bool, device=rows.device)
        if returned is None or returned.shape != clean.shape or not bool(returned.isfinite().all()):
            return clean, nothing
        if int(oracle.remaining()[rows.cpu()]) == 0:
            return clean, nothing
        points = returned.to(clean.device, torch.float32).clamp(oracle.bounds.lower, oracle.bounds.upper)
        labels = oracle.label(points, rows.cpu())
        return points, problem.criterion.is_adversarial(labels, rows.to(labels.device)).to(rows.device)


def run_library_attack(
    attack: LibraryAttack,
    oracle: Oracle,
    inputs: Tensor,
    labels: Tensor,
    *,
    seed: int,
    targets: Tensor | None = None,
    starting_points: Tensor | None = None,
    identities: Sequence[int] | None = None,
    checkpoint: Path | None = None,
    subject: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> AttackResult:
    """Run it by variegate's driver; see `variegate.attacks.driver.run_attack` for arguments and errors.

    Returns:
        the result, with a trajectory at the marks of `query_marks` (of images that a checkpoint already held, and with
        rule "returned", only the end).
    """
    result = run_attack(
        attack,
        oracle,
        inputs,
        labels,
        seed=seed,
        targets=targets,
        starting_points=starting_points,
        identities=identities,
        checkpoint=checkpoint,
        subject=subject,
        progress=progress,
    )
    marks = torch.tensor(query_marks(oracle.budget or 1))
    distances = torch.full((len(marks), inputs.shape[0]), float("inf"))
    for row, within in attack.kept.items():
        distances[:, row] = within
    distances[-1] = torch.where(result.success, result.distances, distances[-1])
    queries = torch.minimum(marks[:, None], result.queries[None])
    return replace(result, trajectory=Trajectory(queries=queries, distances=distances))


def require_library(name: str, module: str, purpose: str) -> Any:  # noqa: ANN401 - a module without types
    """Import a module of an optional library.

    Raises:
        ConfigurationError: it is not installed; the sentence names the extra.
    """
    return require(module, purpose=purpose, install=f"pip install 'variegate[{name}]'")


def simple_settings(values: dict[str, Any]) -> str:
    """Return the numbers, texts and truth values among an attack's attributes, as text."""
    plain = {k: v for k, v in sorted(values.items()) if isinstance(v, bool | int | float | str | type(None))}
    return ", ".join(f"{name}={value!r}" for name, value in plain.items() if not name.startswith("_"))


def _wanted(problem: AttackProblem) -> Tensor:
    """Return int64 (N,): the labels aimed at, or the correct ones."""
    criterion = problem.criterion
    if isinstance(criterion, MisclassifiedAs):
        return criterion.targets
    if isinstance(criterion, Misclassified):
        return criterion.labels
    raise ConfigurationError(f"libraries aim at labels; got the criterion {type(criterion).__name__}")


def _seed(problem: AttackProblem, row: int) -> int:
    """Return the seed of the library's generators for this image, from the attack's own noise."""
    high, low = (problem.noise.start(row, 0, (2,)).double() * 2**16).long().tolist()
    return int(high) << 16 | int(low)
