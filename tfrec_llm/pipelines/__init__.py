"""TFX pipelines around this package: optional, in an environment of their own (extra `tfx`).

Only `on_tfx` needs TFX.
"""
