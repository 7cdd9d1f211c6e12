"""The report page's account of rows and of compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from shoal.formats import text as formats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shoal.evaluate.report import ReportDetails, StageCost


def row_accounting(metrics: Mapping[str, Any], details: ReportDetails) -> dict[str, Any]:
    """What became of every source row, with a sentence that says if any are missing.

    Args:
        metrics: Content of ``metrics.json``.
        details: What else the page shows.

    Returns:
        The page's ``rows``, ``rows_missing``, ``rows_sentence`` and ``rejection``.
    """
    counts = {
        "Training fold": metrics["rows"]["train"],
        "Validation fold": metrics["rows"]["validation"],
        "Test fold": metrics["rows"]["test"],
        "Outside every fold": metrics["rows"]["outside"],
        **{f"Dropped by {step}": count for step, count in details.dropped.items()},
    }
    copies = {f"Added by {step}": count for step, count in details.added.items()}
    total = sum(counts.values()) - sum(copies.values())
    missing = details.rows_in - total
    sentence = (
        f"{formats.count_text(details.rows_in)} rows in the source files, "
        f"{formats.count_text(total)} accounted for"
    )
    rejection = metrics.get("rejection")
    return {
        "rows": [
            {"name": name, "count": formats.count_text(n), **_share(n, details.rows_in)}
            for name, n in (counts | copies).items()
        ],
        "rows_missing": missing != 0,
        "rows_sentence": f"{sentence}: {abs(missing):,} differ." if missing else f"{sentence}.",
        "rejection": rejection
        and (
            f"The router took {formats.share_text(rejection['outside'])} of the rows outside "
            f"every fold for unlike anything it knows and gave them to the base; of the test "
            f"rows it did so with {formats.share_text(rejection['test'])}."
        ),
    }


def stage_rows(stages: Sequence[StageCost]) -> list[dict[str, Any]]:
    """What each stage cost, and all together; shares are of all FLOPs."""
    total = sum(stage.flops for stage in stages)
    rows = [(s.stage, s.jobs, s.seconds, s.flops) for s in stages]
    rows.append(("All", sum(s.jobs for s in stages), sum(s.seconds for s in stages), total))
    return [
        {
            "name": name,
            "jobs": formats.count_text(jobs),
            "seconds": formats.seconds_text(seconds),
            "flops": formats.flops_text(flops),
            **_share(flops, total),
        }
        for name, jobs, seconds, flops in rows
    ]


def _share(part: float, whole: float) -> dict[str, Any]:
    """A share as text and as a bar."""
    share = part / whole if whole else 0.0
    bar = (
        '<svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{100 * min(share, 1.0):.2f}" height="6"/></svg>'
    )
    return {"percent": formats.share_text(share), "bar": Markup(bar)}  # noqa: S704 - made here from one number
