"""What the ladder's runs say: quantiles and processor time by rung, ratios between rungs, and what each ablation changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.quantiles import (
    Block,
    Ratio,
    block_quantile,
    over_blocks,
    pooled,
    quantile,
    ratio_of_quantiles,
)
from tests.experiments.common.answers import JITTER_SECONDS, Answers, Floats
from tests.experiments.common.driving import Driven, load
from tests.experiments.common.folder import Folder
from tests.experiments.common.intervals import FEWEST
from tests.experiments.common.report import Figure, Table, Verdict, at_least, at_most, every
from tests.experiments.ladder.stage import (
    BARE,
    DIRECT,
    EDGE,
    EDGE_BARE,
    FLASK,
    GATEWAY,
    NAIVE,
    NAIVE_PROXY,
    READ,
    RUNGS,
)

WARM_SECONDS = 0.3
"""Of each block left out: first requests open their connections."""
LEVELS = ("steady", "10%", "30%", "50%", "70%")
QUANTILES = (0.5, 0.9, 0.99, 0.999)
FEWEST_BEYOND = 10
"""Requests that took longer than a quantile; with fewer it is not told."""
MOST_LATE = 0.05
"""Of the requests of an arm near its saturation."""
HOPS = ("server", "replica", "PostgreSQL", "gateway", "edge")
LAB_DIRECT, LAB_GATEWAY = 0.00547, 0.02112
"""Seconds: the lab's means, direct and through its gateway."""
MOST_P50, MOST_P99 = 1.5, 2.0
USERS = 16
"""Closed users at once who tell a rung's saturation."""
CROWDS = (1, 4, 16)
"""Closed users at once, as a load that waits for each answer has them."""
CROWDED = (DIRECT, EDGE, NAIVE, NAIVE_PROXY)
LEAST_KEPT, MOST_ADDED = 0.80, 2.0
NO_HOP, HOP = "no hop", "Envoy hop"
NO_PLUGIN, ALL_PLUGINS = "edge alone, no plugin", "edge alone, all plugins"
_TAKES_PART: Mapping[str, Sequence[str]] = {
    BARE: ("server",),
    FLASK: ("server",),
    READ: ("server", "PostgreSQL"),
    DIRECT: ("replica", "PostgreSQL"),
    GATEWAY: ("replica", "PostgreSQL", "gateway"),
    EDGE_BARE: ("replica", "PostgreSQL", "gateway", "edge"),
    EDGE: ("replica", "PostgreSQL", "gateway", "edge"),
}


def arm(rung: str, level: str) -> str:
    return f"{rung} @ {level}"


def crowd(rung: str, users: int) -> str:
    return f"{rung}, {users} closed user{'s' if users > 1 else ''}"


@dataclass(frozen=True)
class Found:
    """Blocks of seconds by arm, the same number for all arms of a kind; rates; and processor seconds a request by arm and hop.

    What was not run has no blocks.
    """

    saturation: Mapping[str, float]
    rungs: Mapping[str, Sequence[Floats]]
    rates: Mapping[str, float]
    ablations: Mapping[str, Sequence[Floats]]
    cpu: Mapping[str, Mapping[str, float]]
    edge_cpu: Mapping[str, Sequence[Block]]
    """Of each ablation, blocks of one figure: the edge's processor seconds a request."""
    late: Mapping[str, float] = field(default_factory=dict)
    """By arm, the share of the requests that k6, which shares the processors, sent late."""

    def was_sent(self, name: str) -> bool:
        """Whether an arm was asked as planned: near its saturation k6 may fall behind, and even leave requests out."""
        return self.late.get(name, 0.0) <= MOST_LATE


def saturations(folder: Folder) -> dict[str, float]:
    """Requests a second by rung that closed users brought about, the median of its blocks."""
    driven = load(folder.run("saturation"))
    return {
        rung: float(np.median([_rate(block) for block in driven.of(rung, WARM_SECONDS)])) for rung in RUNGS
    }


def _rate(answers: Answers) -> float:
    return len(answers) / float(answers.ended.max() - answers.due.min())


def read(folder: Folder) -> Found:
    done = [name for name in folder.done_runs() if name != "saturation"]
    runs = {name: load(folder.run(name)) for name in sorted(done, key=_number)}
    rungs = [driven for name, driven in runs.items() if name.startswith(("rungs", "shares"))]
    ablations = [driven for name, driven in runs.items() if name.startswith("ablations")]
    arms = {arm(rung, level): rung for rung in RUNGS for level in LEVELS}
    measured = [name for name in arms if any(name in driven.arms.values() for driven in rungs)]
    named = list(dict.fromkeys(name for driven in ablations for name in driven.arms.values()))
    return Found(
        saturations(folder),
        {name: _seconds(rungs, name) for name in arms},
        {name: _median_rate(rungs, name) for name in measured},
        {name: _seconds(ablations, name) for name in named},
        {name: _cpu(rungs, name, _TAKES_PART[arms[name]]) for name in measured},
        {name: _edge_cpu(ablations, name) for name in named},
        {name: _late(rungs, name) for name in measured},
    )


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _seconds(runs: Sequence[Driven], name: str) -> list[Floats]:
    return [block.seconds for driven in runs for block in driven.of(name, WARM_SECONDS)]


def _median_rate(runs: Sequence[Driven], name: str) -> float:
    """At which an arm of open load was asked, as it was planned: how long the answers took is no part of it."""
    blocks = [block for driven in runs for block in driven.of(name)]
    return float(np.median([(len(one) - 1) / float(np.ptp(one.due)) for one in blocks]))


def _late(runs: Sequence[Driven], name: str) -> float:
    late = np.concatenate([block.late for driven in runs for block in driven.of(name)])
    return float(np.mean(late > JITTER_SECONDS))


def _cpu(runs: Sequence[Driven], name: str, hops: Sequence[str]) -> dict[str, float]:
    """Processor seconds a request of each hop that takes part, over all blocks of an arm."""
    blocks = [(driven, block) for driven in runs for block in driven.of(name)]
    count = sum(len(block) for _, block in blocks)
    return {hop: sum(_spent(driven, hop, block) for driven, block in blocks) / count for hop in hops}


def _edge_cpu(runs: Sequence[Driven], name: str) -> list[Block]:
    return [[_spent(driven, "edge", block) / len(block)] for driven in runs for block in driven.of(name)]


def _spent(driven: Driven, hop: str, block: Answers) -> float:
    return driven.ticks.spent(hop, block.due.min(), block.ended.max())


def _ratio(found: Found, above: str, below: str, share: float) -> Ratio:
    return ratio_of_quantiles(found.rungs[arm(above, "steady")], found.rungs[arm(below, "steady")], share)


def verdicts(found: Found) -> list[Verdict]:
    return [*_rung_verdicts(found), *_plugin_verdicts(found)]


def _plugin_verdicts(found: Found) -> list[Verdict]:
    """What all plugins cost the edge, in its processor time and in time, against a bare Envoy hop; of a few blocks it cannot be told."""
    if ALL_PLUGINS not in found.ablations:
        return []
    cpu = ratio_of_quantiles(found.edge_cpu[NO_PLUGIN], found.edge_cpu[ALL_PLUGINS], 0.5)
    enough = len(found.edge_cpu[NO_PLUGIN]) >= FEWEST
    added = over_blocks(
        [found.ablations[name] for name in (ALL_PLUGINS, NO_HOP, HOP)], _times_a_hop, signed=True
    )
    return [
        Verdict(
            f"with all plugins the edge answers ≥ {LEAST_KEPT:g} of what it answers without, for each second of its processor time",
            cpu.said(),
            at_least(cpu, LEAST_KEPT) if enough else None,
        ),
        Verdict(
            f"what the edge with all plugins adds to the p50, of what a bare Envoy hop adds, ≤ {MOST_ADDED:g}",
            added.said(),
            at_most(added, MOST_ADDED) if enough else None,
        ),
    ]


def _times_a_hop(arms: Sequence[Floats]) -> float:
    edge, nothing, hop = (quantile(one, 0.5) for one in arms)
    return (edge - nothing) / (hop - nothing)


def _rung_verdicts(found: Found) -> list[Verdict]:
    if not found.rungs[arm(EDGE, "steady")]:
        return []
    direct, edge = (
        over_blocks([found.rungs[arm(rung, "steady")]], lambda arms: float(arms[0].mean()))
        for rung in (DIRECT, EDGE)
    )
    p50, p99 = _ratio(found, EDGE, DIRECT, 0.5), _ratio(found, EDGE, DIRECT, 0.99)
    lab = LAB_GATEWAY / LAB_DIRECT
    return [
        Verdict(f"edge / direct, p50 at the same rate ≤ {MOST_P50:g}", p50.said(), at_most(p50, MOST_P50)),
        Verdict(
            f"edge / direct, p99 at the same rate ≤ {MOST_P99:g}",
            p99.said(),
            at_most(p99, MOST_P99) if _is_told(found, 0.99) else None,
        ),
        Verdict(f"edge / direct, p50 below the lab's {lab:.2f}, of its means", p50.said(), at_most(p50, lab)),
        Verdict(
            f"mean direct below the lab's {LAB_DIRECT * 1000:.2f} ms and through the edge below its {LAB_GATEWAY * 1000:.2f} ms",
            f"{_ms(direct)} and {_ms(edge)} ms",
            every(at_most(direct, LAB_DIRECT), at_most(edge, LAB_GATEWAY)),
        ),
    ]


def _ms(ratio: Ratio) -> str:
    return ratio.times(1000).said(2)


def figures(found: Found) -> list[Figure]:
    if not found.rungs[arm(EDGE, "steady")]:
        return []
    shown = []
    for share in (0.5, 0.99) if _is_told(found, 0.99) else (0.5,):
        for above, below in (
            (FLASK, BARE),
            (READ, FLASK),
            (DIRECT, READ),
            (GATEWAY, DIRECT),
            (EDGE_BARE, GATEWAY),
            (EDGE, EDGE_BARE),
            (EDGE, DIRECT),
        ):
            ratio = _ratio(found, above, below, share)
            shown.append(
                Figure(f"{above} / {below}, p{share * 100:g}", "", ratio.value, ratio.low, ratio.high)
            )
    for rung in RUNGS:
        p50 = block_quantile(found.rungs[arm(rung, "steady")], 0.5)
        shown.append(Figure(f"{rung}, p50", "ms", p50.value * 1000, p50.low * 1000, p50.high * 1000))
    return shown


def tables(found: Found) -> list[Table]:
    shown = [
        Table(
            f"What {USERS} closed users get out of each rung: its saturation, which is no knee",
            ["rung", "requests a second"],
            [[rung, f"{rate:,.0f}"] for rung, rate in found.saturation.items()],
        )
    ]
    if found.rungs[arm(EDGE, "steady")]:
        shown += [_steady_table(found), _cpu_table(found)]
    if found.rungs[arm(EDGE, LEVELS[-1])]:
        shown.append(_share_table(found))
    if any(found.ablations.values()):
        shown += [_ablation_table(found), _lab_table(found)]
    return shown


def _steady_table(found: Found) -> Table:
    rows = []
    for rung in RUNGS:
        blocks = found.rungs[arm(rung, "steady")]
        rows.append(
            [
                rung,
                *(
                    _known(np.concatenate(blocks), share, _ms(block_quantile(blocks, share)))
                    for share in QUANTILES
                ),
                f"{sum(map(len, blocks)):,}",
            ]
        )
    return Table(
        f"At the same rate: ms with 95 % (– where fewer than {FEWEST_BEYOND} requests took longer)",
        ["rung", "p50", "p90", "p99", "p99.9", "requests"],
        rows,
    )


def is_known(taken: Floats, share: float) -> bool:
    """Whether FEWEST_BEYOND requests are above that quantile: with fewer it is nearly the slowest request."""
    return len(taken) * (1 - share) > FEWEST_BEYOND - 0.5


def _is_told(found: Found, share: float) -> bool:
    """Whether all rungs know that quantile at the same rate."""
    return all(is_known(np.concatenate(found.rungs[arm(rung, "steady")]), share) for rung in RUNGS)


def _known(taken: Floats, share: float, said: str) -> str:
    return said if is_known(taken, share) else "–"


def _cpu_table(found: Found) -> Table:
    rows = [[rung, *_by_hop(found.cpu[arm(rung, "steady")])] for rung in RUNGS]
    return Table("At the same rate: µs of processor time a request, by hop", ["rung", *HOPS, "in all"], rows)


def _by_hop(hops: Mapping[str, float]) -> list[str]:
    return [
        *(f"{hops[hop] * 1e6:.0f}" if hop in hops else "" for hop in HOPS),
        f"{sum(hops.values()) * 1e6:.0f}",
    ]


def _share_table(found: Found) -> Table:
    rows = [_share_row(found, rung, level) for rung in RUNGS for level in LEVELS[1:]]
    head = ["rung", "share", "a second", "requests", "p50", "p90", "p99", "p99.9", *HOPS, "in all"]
    return Table(
        f"At shares of each rung's own saturation, by {USERS} closed users: ms (– where fewer than {FEWEST_BEYOND} requests took longer, or k6 sent more than {MOST_LATE:.0%} late), and µs of processor time a request by hop",
        head,
        rows,
    )


def _share_row(found: Found, rung: str, level: str) -> list[str]:
    name = arm(rung, level)
    taken = np.concatenate(found.rungs[name])
    times = [
        _known(taken, share, f"{quantile(taken, share) * 1000:.2f}") if found.was_sent(name) else "–"
        for share in QUANTILES
    ]
    about = [rung, level.replace("%", " %"), f"{found.rates[name]:,.0f}", f"{len(taken):,}"]
    return [*about, *times, *_by_hop(found.cpu[name])]


_REFERENCES = (
    ("edge alone", NO_PLUGIN),
    (HOP, HOP),
    (NO_HOP, HOP),
    (DIRECT, DIRECT),
    (GATEWAY, DIRECT),
    (EDGE, EDGE),
    (NAIVE_PROXY, NAIVE),
    (NAIVE, NAIVE),
)


def _reference(name: str) -> str:
    return next(reference for begin, reference in _REFERENCES if name.startswith(begin))


def _ablation_table(found: Found) -> Table:
    names = sorted(name for name in found.ablations if "closed user" not in name)
    head = ["arm", "p50", "against", "ratio", "ms more", "edge's processor time, µs"]
    return Table("Ablations: p50, ms", head, [_ablation_row(found, name) for name in names])


def _ablation_row(found: Found, name: str) -> list[str]:
    blocks, reference = found.ablations[name], _reference(name)
    cpu = f"{quantile(pooled(found.edge_cpu[name]), 0.5) * 1e6:.0f}" if name.startswith("edge") else ""
    if name == reference:
        return [name, _ms(block_quantile(blocks, 0.5)), "", "", "", cpu]
    against = found.ablations[reference]
    ratio = ratio_of_quantiles(blocks, against, 0.5)
    more = over_blocks(
        [blocks, against], lambda arms: quantile(arms[0], 0.5) - quantile(arms[1], 0.5), signed=True
    )
    return [name, _ms(block_quantile(blocks, 0.5)), reference, ratio.said(), _ms(more), cpu]


def _lab_table(found: Found) -> Table:
    """Direct and through all proxies, by users who ask again as soon as they are answered; and a few who are held against one."""
    pairs = [
        (stack, direct, users, proxied, users)
        for stack, direct, proxied in (("this shop", DIRECT, EDGE), ("naive stack", NAIVE, NAIVE_PROXY))
        for users in CROWDS
    ]
    pairs.append(("naive stack, asked by one and by four", NAIVE, 1, NAIVE_PROXY, 4))
    lab = [
        "the lab",
        "",
        f"{LAB_DIRECT * 1000:.2f}",
        f"{LAB_GATEWAY * 1000:.2f}",
        f"{LAB_GATEWAY / LAB_DIRECT:.2f}",
    ]
    rows = [
        _lab_row(
            found,
            stack,
            crowd(direct, few),
            crowd(proxied, many),
            f"{few}" if few == many else f"{few}, {many}",
        )
        for stack, direct, few, proxied, many in pairs
        if crowd(direct, few) in found.ablations and crowd(proxied, many) in found.ablations
    ]
    head = [
        "stack",
        "closed users",
        "direct, p50 (mean) ms",
        "through its proxies, p50 (mean) ms",
        "ratio of p50",
    ]
    return Table("Where figures such as the lab's come from", head, [*rows, lab])


def _lab_row(found: Found, stack: str, direct: str, proxied: str, users: str) -> list[str]:
    one, two = found.ablations[direct], found.ablations[proxied]
    said = (
        f"{quantile(np.concatenate(blocks), 0.5) * 1000:.2f} ({np.concatenate(blocks).mean() * 1000:.2f})"
        for blocks in (one, two)
    )
    return [stack, users, *said, ratio_of_quantiles(two, one, 0.5).said()]
