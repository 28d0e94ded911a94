"""The steps, oldest first.

A step that was released never changes: it refers to no table of `variegate.registry.schema`.
"""
