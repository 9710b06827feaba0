"""The measurements as tables: medians, spreads, and ratios to bare mitmproxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measures import Figure, Row, Table


def rates_table(table: Table, bare: str) -> list[str]:
    """Answers a second, each with its ratio to the yardstick's."""
    head = (
        "| what answers | 8 kept connections, answers/s | x | a new connection each | x | p50 ms | p99 ms | "
        "CPU us/answer | x | new: CPU us | x | generator busy | new: busy |"
    )
    lines = [head, "|" + "---|" * 13]
    yard = table[bare]
    for name, row in table.items():
        cells = [
            name,
            _with_spread(row["kept"]),
            _ratio(row["kept"], yard["kept"]),
            _with_spread(row["fresh"]),
            _ratio(row["fresh"], yard["fresh"]),
            f"{row['p50'].median:.2f}",
            f"{row['p99'].median:.2f}",
            f"{row['kept cpu'].median:,.0f}",
            _ratio(yard["kept cpu"], row["kept cpu"]),
            f"{row['fresh cpu'].median:,.0f}",
            _ratio(yard["fresh cpu"], row["fresh cpu"]),
            f"{row['busy'].median:.0%}",
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


def start_table(table: Table, bare: str, wholes: Table) -> list[str]:
    """Seconds to the first connection, and memory; of `wholes`, which are no subjects, from start to end."""
    lines = ["| starting | ready, ms | x | CPU, ms | x | idle, MB | x |", "|---|---|---|---|---|---|---|"]
    yard = table[bare]
    for name, row in table.items():
        cells = [
            name,
            f"{row['ready'].median * 1000:.0f} ±{row['ready'].spread / 2:.0%}",
            f"{row['ready'].median / yard['ready'].median:.2f}",
            f"{row['ready cpu'].median * 1000:.0f}",
            f"{row['ready cpu'].median / yard['ready cpu'].median:.2f}",
            f"{row['idle'].median:.0f}",
            f"{row['idle'].median / yard['idle'].median:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for name, row in wholes.items():
        whole = row["ready"]
        share = whole.median / yard["ready"].median
        cells = [name, f"{whole.median * 1000:.0f} ±{whole.spread / 2:.0%}", f"{share:.2f}"]
        lines.append(f"| {' | '.join(cells)} | | | | |")
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


def workers_table(table: Table, one: str) -> list[str]:
    """Answers a second by workers, and what they would be if the generator had a core of its own."""
    head = (
        "| what answers | answers/s | x | its processors | generator's | CPU us/answer | "
        "with all processors to itself | x |"
    )
    lines = [head, "|" + "---|" * 8]
    yard = table[one]
    for name, row in table.items():
        cells = [
            name,
            _with_spread(row["rate"]),
            f"{row['rate'].median / yard['rate'].median:.2f}",
            f"{row['used'].median:.2f}",
            f"{row['busy'].median:.2f}",
            f"{row['cpu'].median:,.0f}",
            f"{row['whole'].median:,.0f}",
            f"{row['whole'].median / yard['whole'].median:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _with_spread(figure: Figure, digits: int = 0) -> str:
    return f"{figure.median:,.{digits}f} ±{figure.spread / 2:.0%}"


def _ratio(figure: Figure, to: Figure) -> str:
    return f"{figure.median / to.median:.1f}" if to.median else "-"
