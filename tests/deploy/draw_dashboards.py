"""Draws the dashboards with what a cluster shows under load: draw_dashboards.py DIRECTORY [SECONDS]

Three nodes serve clients; in the middle of it one is killed and started again. Needs CONCLAVE_BIN, Prometheus and the
package matplotlib. It is no Grafana: it shows what each panel's queries answer.
"""

import itertools
import json
import pathlib
import sys
import tempfile
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as dates  # noqa: E402
import matplotlib.pyplot as plot  # noqa: E402
import matplotlib.ticker as ticker  # noqa: E402
from cluster import Cluster, ClusterPool, Load  # noqa: E402
from prometheus import DASHBOARDS, Prometheus, filled  # noqa: E402

INK, GRID, SURFACE = "#d8d9da", "#2c3235", "#181b1f"
COLOURS = [
    "#7eb26d",
    "#eab839",
    "#6ed0e0",
    "#ef843c",
    "#e24d42",
    "#1f78c1",
    "#ba43a9",
    "#705da0",
    "#508642",
    "#cca300",
    "#447ebc",
    "#c15c17",
]
ROW_HEIGHT, WIDTH = 0.34, 19


def unit(value, kind):
    if kind == "percentunit":
        return f"{value * 100:.3g} %"
    if kind == "s":
        for size, name in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"), (0.001, "ms")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return "0 s" if value == 0 else f"{value * 1e6:.3g} µs"
    suffix = {"reqps": " req/s", "ops": " /s"}.get(kind, "")
    return f"{value:,.0f}{suffix}" if abs(value) >= 1_000 else f"{value:.3g}{suffix}"


def legend(target, labels):
    text = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def draw_stat(axes, panel, prometheus, end):
    kind = panel["fieldConfig"]["defaults"]["unit"]
    samples = prometheus.query(filled(panel["targets"][0]["expr"]))
    value = samples[0][1] if samples else None
    colour = "#7eb26d"
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if value is not None and (step["value"] is None or value >= step["value"]):
            colour = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}[step["color"]]
    axes.axis("off")
    axes.text(
        0.5, 0.4, "no data" if value is None else unit(value, kind), ha="center", va="center", fontsize=20, color=colour
    )


def draw_lines(axes, panel, prometheus, start, end):
    kind = panel["fieldConfig"]["defaults"]["unit"]
    colours = itertools.cycle(COLOURS)
    lines = 0
    for target in panel["targets"]:
        for labels, points in sorted(prometheus.query_range(filled(target["expr"]), start, end, 1), key=str):
            points = [(at, value) for at, value in points if value == value]
            if not points:
                continue
            times = [at / 86_400 for at, _ in points]
            axes.plot(times, [value for _, value in points], lw=1, color=next(colours), label=legend(target, labels))
            lines += 1
    axes.xaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.yaxis.set_major_formatter(lambda value, _: unit(value, kind))
    axes.tick_params(colors=INK, labelsize=7, length=0)
    axes.grid(color=GRID, lw=0.6)
    if panel["fieldConfig"]["defaults"].get("min") == 0:
        axes.set_ylim(bottom=0)
    if lines:
        axes.legend(fontsize=5.5, ncols=3, loc="upper left", frameon=False, labelcolor=INK)
    else:
        axes.set(xticks=[], yticks=[])
        axes.text(
            0.5, 0.5, "nothing happened", ha="center", va="center", transform=axes.transAxes, color=INK, fontsize=9
        )


def draw_table(axes, panel, prometheus, end):
    hidden = panel["transformations"][0]["options"]["excludeByName"]
    rows = [
        {k: v for k, v in labels.items() if k not in hidden}
        for labels, _ in prometheus.query(filled(panel["targets"][0]["expr"]))
    ]
    axes.axis("off")
    names = list(rows[0])
    table = axes.table(
        [[row[name] for name in names] for row in rows], colLabels=names, loc="upper center", cellLoc="left"
    )
    table.set_fontsize(8)
    for cell in table.get_celld().values():
        cell.set(facecolor=SURFACE, edgecolor=GRID)
        cell.get_text().set_color(INK)


def draw(board, prometheus, start, end, path):
    panels = board["panels"]
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels)
    figure = plot.figure(figsize=(WIDTH, rows * ROW_HEIGHT + 0.5), facecolor="#111217")
    figure.text(0.01, 1 - 0.18 / (rows * ROW_HEIGHT), board["title"], color=INK, fontsize=15, va="top")
    top = 1 - 0.5 / (rows * ROW_HEIGHT + 0.5)
    for panel in panels:
        at = panel["gridPos"]
        left, bottom = at["x"] / 24, top * (1 - (at["y"] + at["h"]) / rows)
        width, height = at["w"] / 24, top * at["h"] / rows
        if panel["type"] == "row":
            figure.text(left + 0.01, bottom + height / 2, panel["title"], color=INK, fontsize=11, va="center")
            continue
        one = top / rows
        axes = figure.add_axes([left + 0.033, bottom + one * 0.8, width - 0.042, height - one * 2], facecolor=SURFACE)
        axes.set_title(panel["title"], color=INK, fontsize=9, loc="left")
        for spine in axes.spines.values():
            spine.set_visible(False)
        if panel["type"] == "timeseries":
            draw_lines(axes, panel, prometheus, start, end)
        else:
            {"stat": draw_stat, "table": draw_table}[panel["type"]](axes, panel, prometheus, end)
    figure.savefig(path, dpi=80, facecolor=figure.get_facecolor())


def main(directory, seconds=120):
    directory, seconds = pathlib.Path(directory), int(seconds)
    with tempfile.TemporaryDirectory() as scratch, Cluster(scratch) as cluster:
        targets = [node.management.removeprefix("http://") for node in cluster.nodes]
        pools = [ClusterPool(cluster) for _ in range(4)]
        with Prometheus(pathlib.Path(scratch) / "prometheus", targets) as prometheus:
            start = time.time()
            with Load(pools[0], threads=2), Load(pools[1], threads=1), Load(pools[2], threads=1):
                time.sleep(seconds / 2)
                node = cluster.leader(pools[0].group)
                node.kill()
                time.sleep(seconds / 6)
                node.start()
                time.sleep(seconds / 3)
                end = time.time()
                for path in sorted(DASHBOARDS.glob("*.json")):
                    draw(json.loads(path.read_text()), prometheus, start, end, directory / f"{path.stem}.png")
    print(f"drawn to {directory}")


if __name__ == "__main__":
    main(*sys.argv[1:])
