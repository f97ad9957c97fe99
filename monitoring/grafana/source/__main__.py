"""`python -m monitoring.grafana.source` writes the JSON of all dashboards beside this package."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from . import autoscaling, database, edge, experiments, overview, shop
from .board import Board

DASHBOARDS = Path(__file__).parents[1] / "dashboards"
BOARDS = (
    overview.BOARD,
    edge.BOARD,
    shop.BOARD,
    database.BOARD,
    autoscaling.BOARD,
    experiments.BOARD,
)


def file_name(board: Board) -> str:
    return f"{board.uid.removeprefix('magasin-')}.json"


def text(board: Board) -> str:
    """The dashboard as Grafana reads it; keys are sorted, so that a change is as large as it is."""
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return encoder.encode(board.build()) + "\n"


def main() -> None:
    """Write every dashboard's file, and delete those of dashboards that are no more."""
    DASHBOARDS.mkdir(exist_ok=True)
    wanted = {file_name(board): text(board) for board in BOARDS}
    for path in DASHBOARDS.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (DASHBOARDS / name).write_text(content)
        print(f"wrote {(DASHBOARDS / name).relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
