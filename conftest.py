"""What pytest passes over where an optional package is missing: modules that need it to import."""

from importlib.util import find_spec

collect_ignore_glob = []
if find_spec("tfx") is None:
    collect_ignore_glob += ["tfrec_llm/pipelines/on_tfx/*"]
