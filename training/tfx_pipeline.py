"""Runs the TFX pipeline on one's own tables, or compiles it for Kubeflow and Vertex AI.

.venv-tfx/bin/python training/tfx_pipeline.py training/configs/RUN.yaml --root runs/pipeline \
  --push-to exports/shop --schemas training/schema --at-least all/recall@10=0.1
.venv-tfx/bin/python training/tfx_pipeline.py training/configs/RUN.yaml --root gs://bucket/root \
  --push-to gs://bucket/exports/shop --compile pipeline.json --image IMAGE
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tfrec_llm.config.load import load_config
from tfrec_llm.errors import TfrecLlmError, UsageError
from tfrec_llm.pipelines.blessing_rules import BlessingRules


def main(arguments: list[str] | None = None) -> int:
    """Parses the arguments and runs or compiles; the exit codes are those of `tfrec-llm`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", help="YAML of `tfrec-llm train`, with data.source: tables")
    parser.add_argument("--root", required=True, help="folder for artifacts and metadata")
    parser.add_argument("--push-to", required=True, help="folder of versions that a server watches")
    parser.add_argument("--metadata", help="sqlite file of the runs; metadata.db in the root")
    parser.add_argument("--schemas", help="folder of curated schemas")
    parser.add_argument(
        "--at-least",
        action="append",
        default=[],
        metavar="SLICE/METRIC=VALUE",
        help="what a model must reach to be pushed",
    )
    parser.add_argument("--server", default="any", choices=["any", "stock", "with_scann"])
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--tune", type=int, default=0, metavar="TRIALS")
    parser.add_argument("--no-cache", action="store_true", help="do every step anew")
    parser.add_argument("--compile", metavar="FILE.json", help="write the pipeline, do not run it")
    parser.add_argument("--image", default="tfrec-llm-tfx", help="of the workers, to compile")
    given = parser.parse_args(arguments)
    try:
        config = load_config(given.config, given.set)
        data = config.data
        if data.items is None or data.interactions is None:
            raise UsageError(f"{given.config}: a pipeline needs data.items and data.interactions.")
        if "://" in given.root and not (given.metadata or given.compile):
            raise UsageError(
                f"--root {given.root} is not on this machine, where metadata must lie: "
                "name a file by --metadata FILE."
            )
        rules = BlessingRules(at_least=dict(map(_rule, given.at_least)))
        # Not above: what is wrong with the arguments is told before TFX is loaded.
        from tfrec_llm.pipelines.on_tfx import pipeline as tfx_pipeline

        tables = {"items": data.items, "interactions": data.interactions, "users": data.users}
        pipeline = tfx_pipeline.create_pipeline(
            {name: path for name, path in tables.items() if path is not None},
            config,
            pipeline_root=given.root,
            push_to=given.push_to,
            metadata=None if given.compile else given.metadata or Path(given.root) / "metadata.db",
            schemas=given.schemas,
            rules=rules,
            server=given.server,
            tuner_trials=given.tune,
            enable_cache=not given.no_cache,
        )
        if given.compile:
            tfx_pipeline.compile_for_kubeflow(pipeline, given.compile, given.image)
        else:
            tfx_pipeline.run_pipeline(pipeline)
    except TfrecLlmError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _rule(text: str) -> tuple[str, float]:
    key, _, value = text.partition("=")
    try:
        return key, float(value)
    except ValueError as error:
        raise UsageError(
            f"--at-least {text}: expected slice/metric=value, such as all/recall@10=0.1"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
