"""The authority acts for the seller: originals, calibrated specs, copies issued and made again on demand.

The authority is the only place that joins the registry (who received what) and the rewriters (what a copy does).

    with Authority.open(home, access=Access(env=os.environ)) as authority:
        manifest, = authority.issue("sign-net", "sign-net-qim", ["acme"])
        copy = authority.load_copy(manifest.copy_id)

- `variegate.authority.authority`: `Authority`, the one door to all of it;
- `variegate.authority.home`: the folder that holds registry, sealed secret, models and specs;
- `issuing`: who gets which copy, on which terms; `partners`: the distance between permutation copies;
- `specs`: calibrated specs and policies; `originals`: originals, and copies made again;
- `keyring`: the seller's secrets; `export` and `verify`: artifacts out, and what the registry says of them.

Importing this package and issuing copies does not import torch; loading an original or a copy does.
"""

from variegate.authority.authority import Authority
from variegate.authority.keyring import SecretSource

__all__ = ["Authority", "SecretSource"]
