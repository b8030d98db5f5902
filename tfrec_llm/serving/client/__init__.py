"""Clients of a server: TensorFlow Serving, or `tfrec-llm serve`."""

from tfrec_llm.serving.client.grpc_client import GrpcClient
from tfrec_llm.serving.client.queries import Query
from tfrec_llm.serving.client.rest_client import RestClient

__all__ = ["GrpcClient", "Query", "RestClient"]
