"""Which attack a command runs, from its name and the options that say how."""

from typing import TYPE_CHECKING

from variegate.cli.options import split_pairs
from variegate.errors import ConfigurationError
from variegate.types import Norm

if TYPE_CHECKING:
    from variegate.attacks.base import Attack
    from variegate.attacks.white_box.base import WhiteBoxAttack


def choose_attack(
    name: str, *, preset: str | None, norm: Norm | None, semantics: str | None, parameters: list[str] | None
) -> "Attack | WhiteBoxAttack":
    """Return the attack with its hyper-parameters; --norm and --semantics are short for --set.

    Raises:
        ConfigurationError: there is no such attack, preset or hyper-parameter, a value does not fit, or is given twice.
    """
    from variegate.attacks.catalog import make_attack

    texts = split_pairs(parameters or [], "--set")
    for option, value in (("norm", norm), ("semantics", semantics)):
        if value is None:
            continue
        if option in texts:
            raise ConfigurationError(f"expected --{option} or --set {option}=..., not both")
        texts[option] = str(value)
    return make_attack(name, texts, preset=preset)


def choose_hard_label_attack(
    name: str, *, preset: str | None, norm: Norm | None, semantics: str | None, parameters: list[str] | None
) -> "Attack":
    """Return a hard-label attack; see `choose_attack`.

    Raises:
        ConfigurationError: besides, if the attack needs more than labels.
    """
    from variegate.attacks.catalog import find_attack
    from variegate.attacks.white_box.base import WhiteBoxAttack

    find_attack(name)  # says what is wrong with the name
    attack = choose_attack(name, preset=preset, norm=norm, semantics=semantics, parameters=parameters)
    if isinstance(attack, WhiteBoxAttack):
        raise ConfigurationError(f"{name} needs scores and gradients; choose an attack that sees labels alone")
    return attack
