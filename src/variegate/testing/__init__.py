"""Shipped with the package: what authors of rewriters and attacks, and our own tests, check them with.

- `closed_form`: classifiers whose distance to the boundary is known exactly;
- `seller`: a seller without a home on disk, and small classifiers to sell;
- `rewriter_contract`, `attack_contract`: what every rewriter and every attack must do, as checks by name that raise
  `AssertionError`; run them over the catalogs, or over one's own.

With pytest, for a rewriter of one's own:

    @pytest.mark.parametrize("check", REWRITER_CHECKS)
    def test_my_rewriter(check):
        REWRITER_CHECKS[check](MySpec())

Randomness comes from seeds that the caller gives or that are constants of a check; nothing global is touched.
"""
