"""variegate: hand every buyer of a classifier a different copy, and measure how far replication attacks are prevented.

Importing the package is cheap and does not import torch; import what you need from its folders:

- `variegate.keys`, `variegate.manifest`: secrets, copy keys, canonical records (no torch);
- `variegate.models`, `variegate.rewriters`: the original, and the copies made from it;
- `variegate.attacks`, `variegate.evaluation`: attacks on copies, and what replicates between them;
- `variegate.authority`: the seller's desk, which joins the registry and the rewriters.
"""

__version__ = "0.1.0"
