"""The seller's desk: imports originals, keeps calibrated specs, issues copies and makes them again on demand.

The authority is the only place that joins the registry (who received what) and the rewriters (what a copy does).

    with Authority.open(home, access=Access(env=os.environ)) as authority:
        manifest, = authority.issue("sign-net", "sign-net-qim", ["acme"])
        copy = authority.load_copy(manifest.copy_id)

- `variegate.authority.authority`: `Authority`;
- `variegate.authority.home`: the folder that holds registry, sealed secret, models and specs;
- `variegate.authority.issuing`: copy ids and manifests, without torch.

Importing this package and issuing copies does not import torch; loading an original or a copy does.
"""

from variegate.authority.authority import Authority
from variegate.authority.keyring import SecretSource

__all__ = ["Authority", "SecretSource"]
