"""The report of what is finished in a benchmark's folder, while it runs or afterwards."""

from __future__ import annotations

from pathlib import Path

from mmsa_suparc.analysis.report import write_report
from mmsa_suparc.bench.kept_plan import KeptPlan
from mmsa_suparc.bench.results import Results
from mmsa_suparc.data.store import locked
from mmsa_suparc.runs.environment import versions

#: Seconds that another process's report in the same folder is waited for.
PATIENCE = 600.0


def report_finished(
    kept: KeptPlan, out: Path, *, with_reported: bool = False
) -> tuple[Results, Path]:
    """Write the report of all that is finished by now; see :func:`.report.write_report`.

    Results are read when it is this process's turn to write, so the last report has the most.

    Args:
        kept: what it is of.
        out: the benchmark's folder.
        with_reported: show what the toolkit's authors report beside what was measured.

    Returns:
        The results, and the page's path.

    Raises:
        UserError: cells that were measured on other clips.
    """
    with locked(out / ".report", patience=PATIENCE):
        results = Results.collect(*kept.reported(out), with_reported=with_reported)
        environment = {"command": kept.command, **versions(("MMSA", "torch", "transformers"))}
        return results, write_report(results, out, environment=environment)
