#!/usr/bin/python3
"""Turns results.json of bench.py into a table (markdown) and a plot (SVG).

usage: report.py DIR      reads DIR/results.json, writes DIR/table.md and DIR/plot.svg, prints the table
"""
import json
import math
import os
import re
import statistics
import sys

# metric, unit, whether more is better; what no row names is in results.json only.
ROWS = (
    ("pod up, host", "ms", False), ("pod down, host", "ms", False),
    ("pod up, cni", "ms", False), ("pod down, cni", "ms", False),
    ("ExecSync", "ms", False), ("CPU per ExecSync", "ms", False),
    ("exit to visible", "ms", False),
    (r"ListContainers, \d+", "ms", False), (r"ListPodSandbox, \d+", "ms", False),
    (r"ListContainerStats, \d+", "ms", False), (r"ListPodSandboxStats, \d+", "ms", False),
    (r"CPU per container of List(Container|PodSandbox)Stats", "µs", False),
    ("CPU per container of bare reads of the same files", "µs", False),
    (r"log, \d+ B lines", "MiB/s", True), (r"CPU per MiB of log, \d+ B lines", "ms", False),
    ("memory, idle", "MiB", False), (r"memory, \d+ pods", "MiB", False), (r"memory of a shim, \d+ pods", "KiB", False),
    (r"CPU at rest, \d+ pods", "ms/s", False),
    ("execs per pod, host", "", False), ("syncs per pod, host", "", False), ("mounts per pod, host", "", False),
    ("processes per pod, host", "", False),
    ("execs per pod, cni", "", False), ("execs by plugins per pod, cni", "", False), ("syncs per pod, cni", "", False),
    ("mounts per pod, cni", "", False),
)


def medians(results):
    """metric → label → median, in the order of ROWS: list of (metric, unit, more_is_better, values)."""
    labels = [r["label"] for r in results["runtimes"]]
    rows = []
    for pattern, unit, more in ROWS:
        names = []
        for runtime in results["runtimes"]:
            names += [m for m in runtime["figures"] if re.fullmatch(pattern, m) and m not in names]
        for name in names:
            values = [r["figures"].get(name) for r in results["runtimes"]]
            rows.append((name, unit, more, dict(zip(labels, (statistics.median(v) if v else None for v in values)))))
    return rows


def number(value):
    if value is None:
        return "–"
    return "%.0f" % value if value >= 100 else "%.3g" % value


def ratio(row, label, base):
    """How this runtime stands to the base: a quotient below 1 is less time, memory or calls."""
    mine, theirs = row[3][label], row[3][base]
    return mine / theirs if mine is not None and theirs else None


def table(results):
    labels = [r["label"] for r in results["runtimes"]]
    base, others = labels[0], labels[1:]
    head = ["", "unit", base] + [column for label in others for column in (label, label + " ÷ " + base)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in medians(results):
        cells = [row[0], row[1], number(row[3][base])]
        for label in others:
            quotient = ratio(row, label, base)
            cells += [number(row[3][label]), "–" if quotient is None else "**%s×**" % number(quotient)]
        lines.append("| " + " | ".join(cells) + " |")
    notes = ["", "Medians of %d interleaved rounds (counts: fewer) in one run; ratios are ratios of "
             "medians." % results["n"]]
    notes += ["%s is %s." % (r["label"], r["version"]) for r in results["runtimes"] if r["version"]]
    return "\n".join(lines + notes) + "\n"


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


COLOURS = ("#1f6f8b", "#d98032", "#7a5195", "#5a8f3c", "#888888")


def plot(results):
    """Bars on a logarithmic axis: how many times better than the first runtime each other one is, per metric."""
    labels = [r["label"] for r in results["runtimes"]]
    base, others = labels[0], labels[1:]
    rows = []
    for row in medians(results):
        gains = {}
        for label in others:
            quotient = ratio(row, label, base)
            if quotient:
                gains[label] = quotient if row[2] else 1 / quotient
        if gains:
            rows.append((row[0], gains))
    reach = max([abs(math.log10(g)) for _, gains in rows for g in gains.values()] + [0.35])
    low = min([math.log10(g) for _, gains in rows for g in gains.values()] + [0])
    left, right = (min(0.0, low) - 0.05), reach + 0.15
    bar, gap, name_width, plot_width, top = 13, 9, 230, 520, 54
    height_of = [len(gains) * bar + gap for _, gains in rows]
    width, height = name_width + plot_width + 60, top + sum(height_of) + 34

    def x(log):
        return name_width + (log - left) / (right - left) * plot_width

    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" '
           'font-family="sans-serif" font-size="12">' % (width, height, width, height),
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="10" y="18" font-size="14" font-weight="bold">'
           'Times better than %s (ratios of medians, log scale)</text>' % escape(base)]
    for i, label in enumerate(others):
        out.append('<rect x="%d" y="28" width="11" height="11" fill="%s"/><text x="%d" y="38">%s</text>'
                   % (10 + i * 160, COLOURS[i % len(COLOURS)], 26 + i * 160, escape(label)))
    bottom = top + sum(height_of)
    for power in range(math.floor(left), math.ceil(right) + 1):
        for digit in (1, 2, 5):
            log = power + math.log10(digit)
            if left <= log <= right:
                times = digit * 10.0 ** power
                out.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>'
                           % (x(log), top - 6, x(log), bottom, "#444" if times == 1 else "#ddd"))
                out.append('<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%s×</text>'
                           % (x(log), bottom + 16, ("%g" % times)))
    y = top
    for (name, gains), rows_height in zip(rows, height_of):
        out.append('<text x="%d" y="%.1f" text-anchor="end">%s</text>'
                   % (name_width - 8, y + (rows_height - gap) / 2 + 4, escape(name)))
        for label, gain in gains.items():
            start, end = sorted((x(0), x(math.log10(gain))))
            out.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>'
                       % (start, y, max(end - start, 1), bar - 2, COLOURS[others.index(label) % len(COLOURS)]))
            out.append('<text x="%.1f" y="%d" font-size="10" fill="#222">%s×</text>'
                       % (end + 4, y + bar - 4, number(gain)))
            y += bar
        y += gap
    out.append("</svg>")
    return "\n".join(out) + "\n"


def write(results, directory):
    text = table(results)
    with open(os.path.join(directory, "table.md"), "w", encoding="utf-8") as out:
        out.write(text)
    if len(results["runtimes"]) > 1:
        with open(os.path.join(directory, "plot.svg"), "w", encoding="utf-8") as out:
            out.write(plot(results))
    return text


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(os.path.join(sys.argv[1], "results.json"), encoding="utf-8") as source:
        print(write(json.load(source), sys.argv[1]))
