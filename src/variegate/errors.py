"""Every error that variegate raises on purpose, in one tree.

    VariegateError
    ├── InputError            data, shapes, bounds, labels or files that cannot be used
    │   └── FormatError       a file is truncated, corrupt or of another format
    ├── ConfigurationError    options that contradict each other or are out of range
    ├── ModelError            a seller's model cannot be used as a classifier
    │   ├── UnsafeFormatError     the file could run code when read (pickle)
    │   └── NondeterminismError   the same input gave two answers
    ├── NotFoundError         no such model, copy, buyer, layer, file
    ├── ConflictError         it exists already, or its state forbids the step
    ├── SecretError           a secret is missing, malformed or cannot be unsealed
    ├── VerificationError     a digest, signature or record does not match
    ├── GateError             a measured rate is above the limit that was asked for
    ├── OracleError           the model behind an oracle failed while labelling
    ├── BudgetError           the attacker's query budget does not cover the call
    └── QuotaError            the seller's quota or a permission refuses the call

A message is one sentence or two: what was expected, what came, what to do. The command line prints it and exits with
`exit_code`; it never prints a traceback for one of these.
"""


class VariegateError(Exception):
    """Base of the tree; `exit_code` is what the command line exits with."""

    exit_code: int = 1


class InputError(VariegateError):
    """Data, shapes, bounds, labels or files that cannot be used."""


class FormatError(InputError):
    """A file is truncated, corrupt or of another format."""


class ConfigurationError(VariegateError):
    """Options that contradict each other or are out of range."""

    exit_code = 2


class ModelError(VariegateError):
    """A seller's model cannot be used as a classifier."""


class UnsafeFormatError(ModelError):
    """The file could run code when it is read, so it is refused."""


class NondeterminismError(ModelError):
    """The same input gave two different answers."""


class NotFoundError(VariegateError):
    """No such model, copy, buyer, layer or file."""

    exit_code = 4


class ConflictError(VariegateError):
    """It exists already, or its state forbids the step."""


class SecretError(VariegateError):
    """A secret is missing, malformed or cannot be unsealed. Never carries the secret."""


class VerificationError(VariegateError):
    """A digest, signature or record does not match what it stands for."""

    exit_code = 5


class GateError(VariegateError):
    """A measured rate is above the limit that was asked for."""

    exit_code = 3


class OracleError(VariegateError):
    """The model behind an oracle failed while labelling."""


class BudgetError(VariegateError):
    """The attacker's query budget does not cover the call; nothing was labelled."""

    exit_code = 6


class QuotaError(VariegateError):
    """The seller's quota or a permission refuses the call."""

    exit_code = 6
