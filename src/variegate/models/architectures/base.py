"""What the families share: checks of their arguments and the initial weights."""

from torch import nn

from variegate.errors import ConfigurationError


def check_sizes(num_classes: int, in_channels: int) -> None:
    """Check the two arguments that every architecture takes.

    Raises:
        ConfigurationError: if there are fewer than 2 classes or no channels.
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise ConfigurationError(f"num_classes must be an integer of at least 2; got {num_classes!r}")
    if isinstance(in_channels, bool) or not isinstance(in_channels, int) or in_channels < 1:
        raise ConfigurationError(f"in_channels must be an integer of at least 1; got {in_channels!r}")


def initialise(module: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers; batch normalisations keep torch's own (weight 1, bias 0).

    Convolutions: normal with variance 2 / fan-out (He et al., "Delving Deep into Rectifiers", 2015, section 2.2).
    Linear layers: normal with standard deviation 0.01, bias 0.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.01)
            nn.init.zeros_(part.bias)
