"""The tables of figures on the pages are those of benchmarks/results/, and of what is counted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def results(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def table(name: str, heading: str) -> list[list[str]]:
    """The cells of the first table behind a line that begins so, without the rows of its head."""
    lines = page(name).partition(f"\n{heading}")[2].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|---") or "| --- |" in line)
    found = []
    for line in lines[first + 1 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    assert found
    return found


def tells(text: str, value: float) -> bool:
    """Whether a figure of a page is the value, to the digits that it has."""
    number = re.search(r"-?[\d,]*\d(\.\d+)?", text)
    assert number, text
    half = 0.5 * 10 ** -max(0, len(number[1] or "") - 1)
    return abs(float(number[0].replace(",", "")) - value) <= half * (1 + 1e-6)


def check(cells: list[str], values: list[float]) -> None:
    assert len(cells) == len(values)
    for cell, value in zip(cells, values, strict=True):
        assert tells(cell, value), (cells, cell, value)


def check_sentence(name: str, pattern: str, values: list[float]) -> None:
    """The same for the figures that the pattern catches on a page."""
    told = re.search(pattern, " ".join(page(name).split()))
    assert told, pattern
    check(list(told.groups()), values)


def test_what_a_card_holds_is_what_the_byte_model_counts(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks" / "capacity.py", "--json", tmp_path / "rows"]
    subprocess.run(command, check=True, capture_output=True)
    counted = json.loads((tmp_path / "rows").read_text())
    base_gb = {}
    for name, held, card, tokens, lora, paca, meft in table("README.md", "| Llama 3.1 |"):
        dtype, _, gb = held.partition(", ")
        base_gb[name, dtype] = gb or base_gb[name, dtype]
        (row,) = (
            each
            for each in counted
            if (each["base"], each["dtype"], f"{each['card_gb']} GB") == (name, dtype, card)
        )
        jobs, host = meft.split(", ")
        told = [base_gb[name, dtype], tokens, lora, paca, jobs]
        check(told, [row["base_bytes"] / 1e9, row["token_budget"], *row["jobs"].values()])
        # Of so many GB three digits.
        assert abs(float(host[:-3].replace(",", "")) - row["host_bytes"]["meft"] / 1e9) < 0.51


def test_the_limit_is_what_is_counted() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "roofline.py"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    for name, *cells in table("docs/performance.md", "rank 16, in percent"):
        line = next(each for each in done.stdout.splitlines() if each.startswith(name))
        assert line.split()[-len(cells) :] == cells
    lora, paca = re.findall(r"as Pando runs it: LoRA ([\d.]+), PaCA ([\d.]+)", done.stdout)[0]
    assert f"{lora} % for LoRA and {paca} % for PaCA" in page("docs/performance.md")


def test_training_beside_peft() -> None:
    rows = results("train_throughput")
    shown = table("docs/performance.md", "| | jobs | Pando tokens/s")
    for row, (name, *cells) in zip(rows, shown, strict=True):
        assert name == row["setting"]
        low, high = cells.pop(4).split("–")
        names = ("jobs", "pando_tokens_per_second", "peft_tokens_per_second", "ratio")
        counted = [row[each] for each in (*names, "ratio_counted", "peak_over_one_job")]
        check(cells, counted)
        check([low, high], [row["ratio_min"], row["ratio_max"]])


def test_the_readme_has_them_too() -> None:
    text = " ".join(page("README.md").split())
    four = {row["setting"]: row["ratio"] for row in results("train_throughput") if row["jobs"] == 4}
    told = re.search(
        r"([\d.]+) × on a 260 K Llama, ([\d.]+) × at 256×4, ([\d.]+) × at 256×4 with a vocabulary "
        r"of 32,000, ([\d.]+) × at 512×8; eight jobs need ([\d.]+) to ([\d.]+) ×",
        text,
    )
    assert told
    eight = [row["peak_over_one_job"] for row in results("train_throughput") if row["jobs"] == 8]
    check(list(told.groups()), [*four.values(), min(eight), max(eight)])


def test_the_api() -> None:
    run = results("api")
    measured = {(f"{row['request']} a job", row["queued"]): row for row in run["requests"]}
    shown = table("docs/performance.md", "| | jobs queued | a second")
    assert len(shown) == len(measured)
    for name, queued, *cells in shown:
        row = measured[name, int(queued.replace(",", ""))]
        milliseconds = [1e3 * row[each] for each in ("p50_seconds", "p99_seconds")]
        check(cells, [row["per_second"], *milliseconds])
    memory, streams, listing = run["memory"], run["streams"], run["listing"]
    check_sentence(
        "docs/performance.md",
        r"had ([\d.]+) MB after [\d,]+ reads, and ([\d.]+) MB after ([\d,]+) more",
        [memory["rss_before"] / 1e6, memory["rss_after"] / 1e6, memory["requests"]],
    )
    check_sentence(
        "docs/performance.md",
        r"([\d,]+) open streams of (\d+) jobs on which nothing happened took the API ([\d.]+) % of "
        r"a core, and Redis ([\d.]+) %\. When each job had an event, the last stream had it after "
        r"([\d.]+) s",
        [
            streams["streams"],
            streams["jobs"],
            100 * streams["api_cpu_share"],
            100 * streams["redis_cpu_share"],
            streams["seconds_until_all_have_an_event"],
        ],
    )
    check_sentence(
        "docs/performance.md",
        r"through ([\d,]+) jobs, (\d+) a page, took ([\d.]+) s, (\d+) ms a page",
        [
            listing["jobs"],
            listing["page"],
            listing["seconds"],
            1e3 * listing["first_pages_seconds"],
        ],
    )


def test_an_hour_of_requests() -> None:
    run = results("api_soak")
    asked, tenths = run["asked"], run["tenths"]
    first, half, last = tenths[0], tenths[4], tenths[-1]
    assert last["requests"] == sum(asked.values())
    check_sentence(
        "docs/performance.md",
        r"([\d,]+) jobs created and cancelled, ([\d,]+) files uploaded and deleted, ([\d,]+) "
        r"streams opened and closed\. The API process had ([\d.]+) MB after ([\d,]+) requests, "
        r"([\d.]+) MB at half the way and ([\d.]+) MB at the end; in the second half it grew by "
        r"([\d.]+) MB per 100,000\. It had (\d+) files open, and (\d+) at the end",
        [
            *(asked[each] for each in ("creates", "uploads", "streams")),
            *(first["rss"] / 1e6, first["requests"], half["rss"] / 1e6, last["rss"] / 1e6),
            run["growth_per_100k_requests"] / 1e6,
            *(first["open_files"], last["open_files"]),
        ],
    )


def test_meft_beside_a_dense_adapter() -> None:
    rows = results("meft")["cpu"]["rows"]
    for row, cells in zip(
        rows, table("docs/performance.md", "| keys | experts | touched"), strict=True
    ):
        of_both = [
            [row[side][each] for side in ("meft", "dense")]
            for each in ("forward_ms", "backward_ms", "update_ms")
        ]
        of_both.append([row[side]["resident_bytes"] / 1e6 for side in ("meft", "dense")])
        check(cells[:3], [row["keys"], row["experts"], row["touched_rows"]])
        for cell, values in zip([*cells[3:6], cells[7]], of_both, strict=True):
            check(cell.split(" / "), values)
        check([cells[6], cells[8]], [row["step_ratio"], row["bytes_ratio"]])


def test_what_each_method_holds() -> None:
    rows = results("knowledge")["rows"]
    shown = table("docs/methods.md", "| method | trained | GPU bytes")
    for row, (label, trained, held, without, step, few, many, rate) in zip(
        rows, shown, strict=True
    ):
        assert label == row["label"]
        check([trained, held, step], [row["parameters"], row["gpu_bytes"] / 1e6, row["step_ratio"]])
        assert not without or tells(without, row["gpu_bytes_without_cache"] / 1e6)
        assert bool(without) is (row["gpu_bytes_without_cache"] != row["gpu_bytes"])
        for cell, data in ((few, row["few"]), (many, row["many"])):
            spread = max(abs(each - data["mean"]) for each in data["accuracies"])
            check(cell.removesuffix(" %").split(" ± "), [100 * data["mean"], 100 * spread])
        assert float(rate) == row["many"]["rate"]


SIDES = ("pando", "fifo-fused", "sjf", "las", "srpt-oracle", "fifo-one")
BASELINES = ("fifo-one", "fifo-fused", "minpad", "sjf", "las")


def test_turnaround_on_the_trace() -> None:
    figures = {
        (each["week"], str(each["load"]), each["side"]): each["turnaround_mean"]
        for each in results("scheduler")["study"]["figures"]
    }
    shown = table("docs/scheduling.md", "| week | load | Pando |")
    assert len(shown) == 9
    for week, load, *cells in shown:
        for cell, side in zip(cells, SIDES, strict=True):
            found = figures[week, load, side]
            check(cell.split(" ± "), [found["mean"], found["deviation"]])


def test_what_was_aimed_at() -> None:
    """Jain's index is held against the best of the baselines, seed by seed."""
    study = results("scheduler")["study"]
    targets: dict[tuple[str, str], list[list[float]]] = {}
    for each in study["targets"]:
        if not each["target"].startswith("Jain"):
            ratio = each["ratio"]
            row = targets.setdefault((each["week"], str(each["load"])), [])
            row.append([ratio["mean"], ratio["deviation"], each["seeds_held"]])
    jain: dict[tuple[str, str, int], dict[str, float]] = {}
    for cell in study["cells"]:
        key = (cell["week"], str(cell["load"]), cell["seed"])
        jain.setdefault(key, {})[cell["side"]] = cell["jain"]
    for place, row in targets.items():
        fair = [
            sides["pando"] / max(v for side, v in sides.items() if side in BASELINES)
            for (week, load, _), sides in jain.items()
            if (week, load) == place
        ]
        row.append([fmean(fair), stdev(fair), sum(each >= 1 for each in fair)])
    shown = table("docs/scheduling.md", "| week | load | mean / FIFO fused")
    assert len(shown) == len(targets)
    for week, load, *cells in shown:
        for cell_text, values in zip(cells, targets[week, load], strict=True):
            check(re.findall(r"[\d.]+", cell_text), values)


def test_with_classes() -> None:
    text = " ".join(page("docs/scheduling.md").split())
    means = {
        side: [
            each["turnaround_mean"]["mean"]
            for each in results("scheduler")["classes"]["figures"]
            if each["side"] == side
        ]
        for side in ("pando", "priority")
    }
    for pattern, side in (
        (r"h to ([\d.]+), ([\d.]+) and ([\d.]+) h, since", "pando"),
        (r"comes to ([\d.]+), ([\d.]+) and ([\d.]+) h\.", "priority"),
    ):
        told = re.search(pattern, text)
        assert told
        check(list(told.groups()), means[side])
    told = re.search(r"Beside FIFO fused that is ([\d.]+), ([\d.]+) and ([\d.]+),", text)
    assert told
    cells = results("scheduler")["classes"]["cells"]
    of = {(c["load"], c["seed"], c["side"]): c["turnaround_mean"] for c in cells}
    loads = sorted({load for load, _, _ in of})
    seeds = sorted({seed for _, seed, _ in of})
    ratios = [
        fmean(of[load, seed, "pando"] / of[load, seed, "fifo-fused"] for seed in seeds)
        for load in loads
    ]
    check(list(told.groups()), ratios)


def test_how_long_a_decision_takes() -> None:
    times = ("empty", "cold", "steady_median", "steady_p95", "steady_max", "forecast")
    shown = table("docs/scheduling.md", "| queued | workers | tenants")
    for row, cells in zip(results("scheduler")["passes"], shown, strict=True):
        counts = [row[each] for each in ("queued", "workers", "tenants", "held")]
        check(cells, counts + [1e3 * row[f"{each}_seconds"] for each in times])


def test_how_long_the_simulator_takes() -> None:
    names = ("jobs", "workers", "load", "days", "utilisation", "cpu_seconds", "plans")
    shown = table("docs/scheduling.md", "| jobs | workers | load |")
    for row, cells in zip(results("scheduler")["growth"], shown, strict=True):
        check(cells, [*(row[each] for each in names), row["peak_bytes"] / 1e6])


def test_kernels_that_compile() -> None:
    kernels = results("aot")["kernels"]
    assert {each["architecture"] for each in kernels} == {"sm_80", "sm_90"}
    assert all(each["spill_bytes"] == 0 for each in kernels)
