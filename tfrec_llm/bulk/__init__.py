"""Encoding and recommending in bulk, as Apache Beam pipelines: here, or on Flink, Spark, Dataflow.

The modules import `apache_beam`; `beam_package.require_beam` says what to install without it.
"""
