"""The command line: reads options, calls the library, prints. No logic of its own.

`variegate.cli.main` has the application, one module has each command group; `options` has what they share. Commands
import what they need when they run, so that `variegate --help` and the reading commands do not import torch.
"""
