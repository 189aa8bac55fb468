"""The table that is printed: medians with their spread, and the ratio to the best peer of the same run."""

from statistics import median

OURS = "pulsegate"


def cell(values: list[float] | None) -> str:
    if not values:
        return ""
    return f"{number(median(values))} ({number(min(values))}–{number(max(values))})"


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(found: dict[str, list[float]], more_is_better: bool) -> str:
    """Our median by the best peer's."""
    ours = found.get(OURS)
    peers = [median(values) for name, values in found.items() if name != OURS and values]
    if not ours or not peers:
        return ""
    best = max(peers) if more_is_better else min(peers)
    return f"{median(ours) / best:.2f}" if best else ""


def markdown(names: list[str], lines: list[tuple[str, str, bool, dict[str, list[float]]]]) -> str:
    """Rows as (name, unit, more is better, figures by peer)."""
    head = ["row", "unit", *names, "ours / best peer"]
    text = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, unit, more_is_better, found in lines:
        unit = f"{unit} ↑" if more_is_better else unit
        cells = [name, unit, *(cell(found.get(peer)) for peer in names), ratio(found, more_is_better)]
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text)
