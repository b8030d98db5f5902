"""Encodes the texts of a table in an Apache Beam pipeline: the arguments of `tfrec-llm encode`.

python training/beam_encode.py items.parquet --encoder PRESET --out vectors --runner DirectRunner
"""

from __future__ import annotations

import sys

from tfrec_llm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["encode", "--runner", "DirectRunner", *sys.argv[1:]]))
