"""Asks a server, TensorFlow Serving's or `tfrec-llm serve`, for recommendations.

python export/query_server.py --name books --text "space opera" --history dune,foundation
python export/query_server.py --name books --grpc localhost:8500 --similar dune
"""

from __future__ import annotations

import argparse
import sys

from tfrec_llm.cli.options import split_ids
from tfrec_llm.errors import TfrecLlmError
from tfrec_llm.serving.client import GrpcClient, RestClient


def main(arguments: list[str] | None = None) -> int:
    """Asks, and prints one item a line: its score and id."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True, help="of the model")
    parser.add_argument("--rest", default="http://localhost:8501", metavar="URL")
    parser.add_argument("--grpc", metavar="ADDRESS", help="ask over gRPC, at localhost:8500 say")
    parser.add_argument("--text", default="", help="what the user says of their taste")
    parser.add_argument("--history", default="", metavar="ID,ID", help="items taken, oldest first")
    parser.add_argument("--exclude", default="", metavar="ID,ID", help="items to leave out")
    parser.add_argument("--similar", metavar="ITEM_ID", help="items like this one instead")
    parser.add_argument("-k", type=int, default=10, help="how many items")
    given = parser.parse_args(arguments)
    try:
        client = (
            GrpcClient(given.grpc, given.name) if given.grpc else RestClient(given.rest, given.name)
        )
        if given.similar:
            items = client.similar(given.similar, given.k)
        else:
            history = split_ids([given.history], "--history")
            exclude = split_ids([given.exclude], "--exclude")
            items = client.recommend(given.text, history, exclude, given.k)
    except TfrecLlmError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    for item_id, score in items:
        print(f"{score:.4f}  {item_id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
