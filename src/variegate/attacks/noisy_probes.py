"""How many probes a noisy oracle takes: closed forms for the estimate of a boundary's normal from labels.

On the boundary of a half-space in d dimensions, with n probes u of a rotationally symmetric distribution and answers
f = sign(u . normal), the estimate is the sum of f u. Along the normal its mean is n a s, with a = E|z| = sqrt(2 / pi)
for a standard normal z and s = 1; across it, it is noise of variance n in each of the d - 1 other directions. So

    E[cos] = 1 / sqrt(1 + (d - 1) / (n a^2 s^2)).

An answer that is wrong with probability nu, independently of all else, is f g with g = -1 with probability nu and 1
elsewhere: the mean along the normal shrinks by s = E[g] = 1 - 2 nu, the variance across it stays, because (f g)^2 = 1.
The same cosine therefore takes 1 / (1 - 2 nu)^2 times as many probes, in any dimension.

Source: Simon-Gabriel, Sheikh and Krause, *PopSkipJump* (ICML 2021), who choose HopSkipJump's probe counts on noisy
oracles by this cosine. Differences: they estimate the noise and the distance from the boundary as they go, here the
rate is given; and they hold the probes' own answers to be noisier near the boundary, here the rate is one number. Off
the boundary a little more would be needed, because the answers' mean, which HopSkipJump subtracts, is diluted too.
"""

import math

from variegate.errors import ConfigurationError
from variegate.oracles.checks import require_at_least

_SIGNAL = math.sqrt(2.0 / math.pi)
_ROUNDING = 1e-9  # of a probe count: what is whole but for rounding is not rounded up


def require_flip_rate(value: float) -> None:
    """Check a probability that an answer is wrong.

    Raises:
        ConfigurationError: it is not from 0 to below 0.5, where answers say nothing.
    """
    if not 0.0 <= value < 0.5:
        raise ConfigurationError(f"flip_rate must be from 0 to below 0.5; got {value}")


def expected_cosine(probes: int, dimension: int, *, flip_rate: float = 0.0) -> float:
    """Return the expected cosine between the estimated and the true normal, for a point on a flat boundary.

    Args:
        probes: n.
        dimension: d, of the space in which probes are drawn; for a subspace, the cosine is to the normal's share in it.
        flip_rate: nu, from 0 to below 0.5.

    Raises:
        ConfigurationError: a number does not fit.
    """
    require_at_least("probes", probes, 1)
    require_at_least("dimension", dimension, 1)
    require_flip_rate(flip_rate)
    signal = _SIGNAL * (1.0 - 2.0 * flip_rate)
    return 1.0 / math.sqrt(1.0 + (dimension - 1) / (probes * signal**2))


def probes_for(flip_rate: float, probes: int) -> int:
    """Return how many noisy probes are worth as much as `probes` exact ones: probes / (1 - 2 nu)^2, rounded up.

    Raises:
        ConfigurationError: a number does not fit.
    """
    require_at_least("probes", probes, 1)
    require_flip_rate(flip_rate)
    return math.ceil(probes / (1.0 - 2.0 * flip_rate) ** 2 * (1.0 - _ROUNDING))


def voted_flip_rate(flip_rate: float, votes: int) -> float:
    """Return how often the majority of independent answers is wrong, where there are two labels.

    Of an even number of votes half may be for either label; the first of them decides, which is as often wrong as
    right then.

    Raises:
        ConfigurationError: a number does not fit.
    """
    require_at_least("votes", votes, 1)
    require_flip_rate(flip_rate)
    chances = [
        math.comb(votes, wrong) * flip_rate**wrong * (1.0 - flip_rate) ** (votes - wrong) for wrong in range(votes + 1)
    ]
    tie = 0.5 * chances[votes // 2] if votes % 2 == 0 else 0.0
    return sum(chances[votes // 2 + 1 :]) + tie
