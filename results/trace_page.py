"""What `heaparena trace stat --html` writes: a trace's distributions and live curve, as plots and tables."""

from __future__ import annotations

from typing import Any, Sequence

from results.section import Table
from results.templating import TEMPLATES, environment

Json = dict[str, Any]

# Of each distribution: its key in the statistics, its title, and the unit of what it counts.
DISTRIBUTIONS = (
    ("sizes", "Requested sizes", "bytes"),
    ("lifetimes", "Lifetimes", "operations"),
    ("lifetimes_ns", "Lifetimes in time", "ns"),
    ("reuse_distance", "Reuse distance", "operations"),
)
QUANTILES = ("least", "p10", "p50", "p90", "p99", "p99.9", "most", "mean")


def _present(stat: Json) -> list[tuple[str, str, str]]:
    return [one for one in DISTRIBUTIONS if stat.get(one[0], {}).get("count")]


def cumulated(buckets: Sequence[Json]) -> tuple[list[float], list[float]]:
    """Where each bucket begins, and the per cent of all that lie below that."""
    total = sum(bucket["count"] for bucket in buckets) or 1
    starts, shares, below = [], [], 0
    for bucket in buckets:
        starts.append(float(bucket["from"]))
        shares.append(100 * below / total)
        below += bucket["count"]
    return starts, shares


def quantile_table(stat: Json) -> Table:
    lines = [
        [f"{title}, {unit}", f"{stat[key]['count']:,}", *(f"{stat[key][name]:,.0f}" for name in QUANTILES)]
        for key, title, unit in _present(stat)
    ]
    return Table("Distributions", ["", "count", *QUANTILES], lines)


def thread_table(stat: Json) -> Table:
    lines = [
        [
            str(thread["thread"]),
            *(f"{thread[key]:,}" for key in ("operations", "allocations", "frees", "remote_frees")),
            f"{thread['requested_bytes'] / 2**20:,.1f} MiB",
        ]
        for thread in stat["threads"]
    ]
    headings = ["thread", "operations", "allocations", "frees", "of another's blocks", "requested"]
    return Table("Threads", headings, lines)


def figure(stat: Json) -> Any:
    """The plots, below each other: the live curve, then each distribution cumulated over a log axis."""
    import plotly.graph_objects as go  # half a second: only where there is something to draw
    from plotly.subplots import make_subplots

    present = _present(stat)
    titles = ["Live bytes", *(f"{title}: per cent below" for _, title, _ in present)]
    made = make_subplots(rows=len(titles), cols=1, subplot_titles=titles, vertical_spacing=0.07)
    curve = stat["curve"]
    made.add_trace(
        go.Scatter(
            x=[point["operation"] for point in curve],
            y=[point["live_bytes"] / 2**20 for point in curve],
            name="live, MiB",
        ),
        row=1,
        col=1,
    )
    made.update_xaxes(title_text="operations", row=1, col=1)
    made.update_yaxes(title_text="MiB", row=1, col=1)
    for row, (key, title, unit) in enumerate(present, 2):
        starts, shares = cumulated(stat[key]["buckets"])
        made.add_trace(go.Scatter(x=starts, y=shares, name=title, line_shape="hv"), row=row, col=1)
        made.update_xaxes(title_text=unit, type="log", exponentformat="power", row=row, col=1)
        made.update_yaxes(title_text="%", range=[0, 101], row=row, col=1)
    made.update_layout(
        showlegend=False,
        height=300 * len(titles),
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(128,128,128,0.08)",
        font_color="#808080",  # on light and on dark
        margin={"l": 55, "r": 15, "t": 40, "b": 45},
    )
    return made


def html(stat: Json) -> str:
    facts = [
        ("Operations", f"{stat['operations']:,}"),
        ("Objects", f"{stat['objects']:,}, {stat['never_freed']:,} of them never freed"),
        ("Duration", f"{stat['duration_ns'] / 1e9:.3f} s"),
        (
            "Most live",
            f"{stat['live_bytes_peak'] / 2**20:,.2f} MiB in {stat['live_objects_peak']:,} objects at most",
        ),
        ("Freed by another thread", f"{100 * stat['remote_share']:.2f} % of the frees"),
    ]
    plots = figure(stat).to_html(
        full_html=False, include_plotlyjs=True, config={"displayModeBar": False, "responsive": True}
    )
    return (
        environment()
        .get_template("trace_stat.html.j2")
        .render(
            title=stat["file"],
            facts=facts,
            plots=plots,
            tables=[quantile_table(stat), thread_table(stat)],
            style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        )
    )
