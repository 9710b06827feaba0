"""The measurements as tables: medians, spreads, and ratios to bare mitmproxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measures import Figure, Row, Table


def rates_table(table: Table, bare: str) -> list[str]:
    """Answers a second and processor time for each, with its ratio to the yardstick's."""
    head = (
        "| what answers | 8 kept connections, answers/s | CPU us/answer | x | in one write: answers/s | "
        "CPU us/answer | x | a new connection each: answers/s | CPU us/answer | x | p50 ms | p99 ms | "
        "generator busy | new: busy |"
    )
    lines = [head, "|" + "---|" * 14]
    yard = table[bare]
    for name, row in table.items():
        cells = [
            name,
            *(
                cell
                for shape in ("two", "one", "fresh")
                for cell in (
                    _with_spread(row[shape]),
                    f"{row[f'{shape} cpu'].median:,.0f}",
                    _ratio(yard[f"{shape} cpu"], row[f"{shape} cpu"]),
                )
            ),
            f"{row['p50'].median:.2f}",
            f"{row['p99'].median:.2f}",
            f"{row['two busy'].median:.0%}",
            f"{row['fresh busy'].median:.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def clients_table(table: Table, bare: str) -> list[str]:
    """twilio-python's latency, each with its ratio to the yardstick's."""
    lines = ["| twilio-python through | p50 ms | p99 ms | x of the yardstick's p50 |", "|---|---|---|---|"]
    for name, row in table.items():
        share = row["p50"].median / table[bare]["p50"].median
        lines.append(f"| {name} | {_with_spread(row['p50'], 2)} | {row['p99'].median:.2f} | {share:.2f} |")
    return lines


def start_table(table: Table, bare: str) -> list[str]:
    """Milliseconds to the first connection, or to the end of what is no server; and idle memory."""
    lines = ["| starting | ready, ms | x | CPU, ms | x | idle, MB | x |", "|---|---|---|---|---|---|---|"]
    yard = table[bare]
    for name, row in table.items():
        cells = [
            name,
            f"{row['ready'].median * 1000:.0f} ±{row['ready'].spread / 2:.0%}",
            f"{row['ready'].median / yard['ready'].median:.2f}",
            f"{row['ready cpu'].median * 1000:.0f}",
            f"{row['ready cpu'].median / yard['ready cpu'].median:.2f}",
        ]
        if "idle" in row:
            cells += [f"{row['idle'].median:.0f}", f"{row['idle'].median / yard['idle'].median:.2f}"]
        lines.append(f"| {' | '.join(cells)} |" + ("" if "idle" in row else " | |"))
    return lines


def recordings_table(table: Table, yardstick: str) -> list[str]:
    """Answers a second of proxies that forward and record, with the ratio to the yardstick's."""
    lines = ["| what forwards | answers/s | x | CPU us/answer | x | p50 ms | p99 ms |", "|" + "---|" * 7]
    yard = table[yardstick]
    for name, row in table.items():
        cells = [name, _with_spread(row["rate"]), _ratio(row["rate"], yard["rate"])]
        cells += [f"{row['cpu'].median:,.0f}", _ratio(yard["cpu"], row["cpu"])]
        cells += [f"{row['p50'].median:.2f}", f"{row['p99'].median:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def journals_table(table: Table) -> list[str]:
    """Answers a second and processor time with the journal and without."""
    lines = ["| what answers | answers/s | CPU us/answer |", "|---|---|---|"]
    for name, row in table.items():
        lines.append(f"| {name} | {_with_spread(row['rate'])} | {_with_spread(row['cpu'])} |")
    return lines


def tunnels_table(table: Table, direct: str) -> list[str]:
    """Megabytes a second through each, and the proxy's processor time for a megabyte."""
    lines = ["| through | MB/s | x | CPU ms/MB |", "|---|---|---|---|"]
    for name, row in table.items():
        cpu = f"{row['cpu'].median:.2f}" if "cpu" in row else ""
        share = row["rate"].median / table[direct]["rate"].median
        lines.append(f"| {name} | {_with_spread(row['rate'])} | {share:.2f} | {cpu} |")
    return lines


def curve_table(title: str, unit: str, table: Table, points: Sequence[int]) -> list[str]:
    """One row for each subject, one column for each point."""
    lines = [
        f"| {title} | " + " | ".join(f"{point:,} {unit}" for point in points) + " |",
        "|---|" + "---|" * len(points),
    ]
    for name, row in table.items():
        lines.append(
            f"| {name} | " + " | ".join(f"{row[f'rate at {point}'].median:,.0f}" for point in points) + " |"
        )
    return lines


def number_table(row: Row, counts: Sequence[int]) -> list[str]:
    """Answers by the number of cassettes, each with its ratio to the smallest."""
    lines = [
        "| cassettes in use | a new connection each, answers/s | CPU us/answer | x |",
        "|---|---|---|---|",
    ]
    yard = row[f"cpu at {counts[0]}"]
    for count in counts:
        rate, cpu = row[f"rate at {count}"], row[f"cpu at {count}"]
        cells = [f"{count:,}", _with_spread(rate), f"{cpu.median:,.0f}", f"{cpu.median / yard.median:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def cassettes_table(table: Table) -> list[str]:
    """Answers a second and the first answer by the cassette's size, each with its ratio to the smallest."""
    lines = [
        "| a cassette of | 8 kept connections, answers/s | x | CPU us/answer | first answer, ms |",
        "|---|---|---|---|---|",
    ]
    smallest = next(iter(table.values()))
    for name, row in table.items():
        cells = [
            name,
            _with_spread(row["rate"]),
            f"{row['rate'].median / smallest['rate'].median:.2f}",
            f"{row['cpu'].median:,.0f}",
            f"{row['first'].median:,.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def protocols_table(table: Table) -> list[str]:
    """A Go program's latency with HTTP/2 wanted and not."""
    lines = [
        "| a Go program through | would speak | speaks HTTP | p50 ms | p99 ms | CPU us/answer |",
        "|" + "---|" * 6,
    ]
    for name, row in table.items():
        for offer, wants in (("h1", "HTTP/1.1"), ("h2", "HTTP/2")):
            cells = [
                name,
                wants,
                f"{row[f'{offer} spoken'].median:g}",
                _with_spread(row[f"{offer} p50"], 2),
                f"{row[f'{offer} p99'].median:.2f}",
                f"{row[f'{offer} cpu'].median:,.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _with_spread(figure: Figure, digits: int = 0) -> str:
    return f"{figure.median:,.{digits}f} ±{figure.spread / 2:.0%}"


def _ratio(figure: Figure, to: Figure) -> str:
    return f"{figure.median / to.median:.1f}" if to.median else "-"
