"""Reduce a trace of requests to `conversation_lengths.json`: few lengths with the same spread.

    python benchmarks/make_lengths.py TRACE.csv

TRACE is AzureLLMInferenceTrace_conv.csv of Azure/AzurePublicDataset. Its requests are sorted by
context and generated tokens together, and those at evenly spaced ranks are kept.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

KEPT = 400
SOURCE = (
    "AzureLLMInferenceTrace_conv.csv of Azure/AzurePublicDataset (CC BY 4.0; Patel et al., "
    f"Splitwise, ISCA 2024): {KEPT} requests at evenly spaced ranks of their length"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    with parser.parse_args().trace.open() as file:
        pairs = [
            (int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(file)
        ]
    pairs.sort(key=lambda pair: (sum(pair), pair))
    kept = [pairs[int((i + 0.5) * len(pairs) / KEPT)] for i in range(KEPT)]
    target = Path(__file__).parent / "conversation_lengths.json"
    target.write_text(json.dumps({"source": SOURCE, "prompt_answer_tokens": kept}) + "\n")


if __name__ == "__main__":
    main()
