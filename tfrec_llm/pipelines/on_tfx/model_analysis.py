"""Recall by TensorFlow Model Analysis: for who wants its slices and its dashboards.

TFMA knows predictions and labels, not lists. So the export is wrapped into a model whose
prediction is 1 where the item that the user took stands among the first k, and the mean of the
predictions is recall@k.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import TfrecLlmError
from tfrec_llm.keras_api import tf
from tfrec_llm.pipelines.on_tfx.examples import write_records
from tfrec_llm.serving.versions import version_folder

SIGNATURE, LABEL = "hit_at_k", "label"
_METRIC = "mean_prediction"


def write_hit_model(export: str | Path, out: str | Path, k: int) -> None:
    """Wraps an export into a SavedModel that says whether a target is among the first k.

    Its signature `hit_at_k` takes `examples`, string `(B,)`, serialized tf.Examples of
    `user_text`, `history` and `target`, and gives `predictions`, float32 `(B, 1)`.

    Args:
        export: folder of versions, or of one version.
        out: where the SavedModel is written.
        k: int >= 1.
    """
    module = tf.Module()
    module.export = tf.saved_model.load(str(version_folder(export)))
    recommend = module.export.signatures["recommend"]

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False
    )
    def hit(examples: Any) -> dict[str, Any]:
        features = {
            "user_text": tf.io.FixedLenFeature([], tf.string, default_value=""),
            "history": tf.io.VarLenFeature(tf.string),
            "target": tf.io.FixedLenFeature([], tf.string),
        }
        parsed = tf.io.parse_example(examples, features)
        answer = recommend(
            user_text=parsed["user_text"],
            history=tf.sparse.to_dense(parsed["history"], default_value=""),
            exclude_ids=tf.fill([tf.size(examples), 1], ""),
            k=tf.constant(k),
        )
        found = tf.reduce_any(answer["item_ids"] == parsed["target"][:, None], axis=1)
        return {"predictions": tf.cast(found, tf.float32)[:, None]}

    options = tf.saved_model.SaveOptions(namespace_whitelist=["Scann", "TFText"])
    tf.saved_model.save(module, str(out), signatures={SIGNATURE: hit}, options=options)


def write_held_out(path: str | Path, queries: Queries, catalogue: Catalogue) -> None:
    """Writes held-out cases as tf.Examples of `user_id`, `user_text`, `history` and `target`.

    There is a `label` too, 1 everywhere. Nothing is compared with it, but without one TFMA finds
    no predictions, says nothing, and gives 0.

    Args:
        path: the TFRecord file, `.gz`.
        queries: the cases.
        catalogue: the corpus.
    """
    rows = [
        {
            "user_id": queries.user_ids[row],
            "user_text": queries.texts[row],
            "history": catalogue.ids(queries.histories[row]),
            "target": catalogue.item_ids[int(queries.targets[row])],
            LABEL: 1.0,
        }
        for row in range(len(queries))
    ]
    write_records(path, rows)


def eval_config() -> Any:
    """Returns TFMA's configuration for what the two functions above write."""
    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name=SIGNATURE, label_key=LABEL)],
        slicing_specs=[tfma.SlicingSpec()],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(class_name="MeanPrediction"),
                    tfma.MetricConfig(class_name="ExampleCount"),
                ]
            )
        ],
    )


def recall_by_model_analysis(
    export: str | Path, queries: Queries, catalogue: Catalogue, k: int, folder: str | Path
) -> float:
    """Returns recall@k of an export as TFMA computes it.

    Args:
        export: folder of versions, or of one version.
        queries: the held-out cases.
        catalogue: the corpus.
        k: int >= 1.
        folder: gets the wrapped model, the cases and TFMA's results.

    Raises: TfrecLlmError when TFMA did not see every case.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_hit_model(export, folder / "model", k)
    write_held_out(folder / "cases.tfrecord.gz", queries, catalogue)
    config = eval_config()
    result = tfma.run_model_analysis(
        eval_shared_model=tfma.default_eval_shared_model(
            str(folder / "model"), eval_config=config, tags=["serve"]
        ),
        eval_config=config,
        data_location=str(folder / "cases.tfrecord.gz"),
        output_path=str(folder / "results"),
    )
    metrics = result.get_metrics_for_slice(())
    if int(metrics["example_count"]["doubleValue"]) != len(queries):
        raise TfrecLlmError(
            f"TFMA saw {metrics['example_count']['doubleValue']:.0f} of {len(queries)} cases."
        )
    return float(metrics[_METRIC]["doubleValue"])
