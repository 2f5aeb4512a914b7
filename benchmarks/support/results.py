"""Writes what was measured: a Markdown table, a plot, and on which machine it was."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.support.interpreter import described

RESULTS = Path(__file__).parents[1] / "results"
OURS, THEIRS = "#c2410c", "#94a3b8"

WIDE = 20
"""From this ratio on, bars that may be logarithmic are: below it they would mislead."""
LOAD_BEFORE = os.getloadavg()[0]
"""What else kept the machine busy in the minute before; 0 on a quiet one."""

Row = Mapping[str, object]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def shown(value: object) -> str:
    """Write a number with three significant digits and no noise."""
    match value:
        case None:
            return "-"
        case bool() | str():
            return str(value)
        case int():
            return f"{value:,}"
        case float():
            if value == 0 or abs(value) >= 100:
                return f"{value:,.0f}"
            return f"{value:.3g}"
        case _:
            return str(value)


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table; the columns are the keys of all rows."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [[shown(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in [columns, ["-" * width for width in widths], *cells]
    ]
    return "\n".join(f"| {line} |" for line in lines)


def machine(server_version: str) -> str:
    """Say what it was measured on."""
    return (
        f"{os.cpu_count()} cores ({platform.processor() or platform.machine()}), "
        f"{described()}, PostgreSQL {server_version}, "
        f"{datetime.now(UTC):%Y-%m-%d}, load average {LOAD_BEFORE:.1f} right before"
    )


def directory(*, quick: bool) -> Path:
    """Return where results go: those of a quick run never stand in for real ones."""
    into = RESULTS / "quick" if quick else RESULTS
    into.mkdir(parents=True, exist_ok=True)
    return into


def write(
    name: str,
    *,
    title: str,
    notes: str,
    rows: Sequence[Row],
    on: str,
    quick: bool,
) -> None:
    """Write `results/<name>.md` and `.json`, and print the table."""
    into = directory(quick=quick)
    text = table(rows)
    page = f"# {title}\n\n{notes}\n\n{text}\n\nMeasured on {on}.\n"
    (into / f"{name}.md").write_text(page, "utf-8")
    (into / f"{name}.json").write_text(json.dumps([dict(row) for row in rows], indent=1) + "\n")
    print(f"\n{title}\n\n{text}\n")


def bars(
    name: str,
    rows: Sequence[Row],
    *,
    label: str,
    values: Sequence[str],
    axis: str,
    quick: bool,
    log: bool = False,
) -> None:
    """Plot horizontal bars of one or more columns, ours in colour."""
    figure, plots = plt.subplots(
        1, len(values), figsize=(5.2 * len(values), 0.42 * len(rows) + 1.3), squeeze=False
    )
    for plot, column in zip(plots[0], values, strict=True):
        draw(plot, rows, label=label, column=column, axis=axis, log=log)
    figure.tight_layout()
    figure.savefig(directory(quick=quick) / f"{name}.png", dpi=120)
    plt.close(figure)


def draw(plot: Axes, rows: Sequence[Row], *, label: str, column: str, axis: str, log: bool) -> None:
    """Draw one panel of bars."""
    rows = [row for row in rows if isinstance(row.get(column), int | float)][::-1]
    names = [str(row[label]) for row in rows]
    colours = [OURS if name.startswith("tocsin") else THEIRS for name in names]
    drawn = plot.barh(names, [float(str(row[column])) for row in rows], color=colours)
    plot.bar_label(drawn, [shown(row[column]) for row in rows], padding=3, fontsize=8)
    plot.set_title(column, fontsize=10)
    plot.set_xlabel(axis, fontsize=9)
    plot.margins(x=0.18)
    plot.spines[["top", "right"]].set_visible(False)
    lengths = [float(str(row[column])) for row in rows]
    if log and min(lengths, default=0) > 0 and max(lengths) > WIDE * min(lengths):
        plot.set_xscale("log")
        plot.set_xlim(left=min(lengths) / 10)
