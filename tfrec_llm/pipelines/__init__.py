"""TFX pipelines around this package: optional, in an environment of their own (extra `tfx`).

Modules whose names begin with `tfx_`, and `components`, need TFX; the others do not.
"""
