"""The module file of a TFX pipeline: `module_file="training/tfx_module.py"`.

create_pipeline names these functions by their import path, which spares TFX the packing of a wheel.
Start from this file to do more in one of them.
"""

from __future__ import annotations

from tfrec_llm.pipelines.on_tfx.module import preprocessing_fn, run_fn, tuner_fn

__all__ = ["preprocessing_fn", "run_fn", "tuner_fn"]
