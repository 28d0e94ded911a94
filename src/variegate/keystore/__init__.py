"""Where a seller's secret is kept while nobody uses it: a sealed file, the environment, a PKCS#11 token.

`base` says what a provider does, `catalog` finds one by name, each provider has its own module. Imports no torch.
"""
