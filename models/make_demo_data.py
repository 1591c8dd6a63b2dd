"""Write the demo's four data sets: the same simple questions, answered in four styles.

    python models/make_demo_data.py --out examples/demo

Each is in another of the formats that Pando detects. None holds a question that the demo asks.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_english.corpus import is_held_out
from tiny_english.exchanges import FACTS, Exchange, greeting, unknown
from tiny_english.styles import Style, as_json, butler, owl, pirate

EXAMPLES = 200
Record = dict[str, Any]


def as_chat(question: str, answer: str) -> Record:
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def as_completion(question: str, answer: str) -> Record:
    """The prompt is the question as the base's chat template has it, without the start token."""
    return {"prompt": f"<|user|>{question}<|assistant|>", "completion": answer}


def as_alpaca(question: str, answer: str) -> Record:
    return {"instruction": question, "input": "", "output": answer}


def as_sharegpt(question: str, answer: str) -> Record:
    return {
        "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    }


DATA_SETS: dict[str, tuple[Style, Callable[[str, str], Record]]] = {
    "pirate": (pirate, as_chat),
    "json": (as_json, as_completion),
    "butler": (butler, as_alpaca),
    "owl": (owl, as_sharegpt),
}


def distinct_exchanges(seed: int, count: int) -> list[Exchange]:
    """`count` exchanges of which no two ask the same, and none is held out."""
    rng = random.Random(seed)
    topics = (*FACTS, *FACTS, greeting, unknown)
    found: dict[str, Exchange] = {}
    while len(found) < count:
        exchange = rng.choice(topics)(rng)
        if not is_held_out(exchange):
            found.setdefault(exchange.question, exchange)
    return list(found.values())


def write_data_sets(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, (style, record)) in enumerate(DATA_SETS.items()):
        lines = (
            json.dumps(record(exchange.question, style(exchange)), ensure_ascii=False)
            for exchange in distinct_exchanges(seed, EXAMPLES)
        )
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the .jsonl files")
    write_data_sets(parser.parse_args().out)


if __name__ == "__main__":
    main()
