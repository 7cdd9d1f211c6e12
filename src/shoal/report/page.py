"""The report page's style and template (Jinja). Every value in it is escaped by Jinja.

It is Python and not a file of its own so that a change to it changes the code digest of the
rule that writes the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

STYLE = """
:root { color-scheme: light dark;
  --page: #fbfbf9; --card: #ffffff; --ink: #1d2126; --soft: #5c6570; --line: #dfe3e6;
  --good: #1a7f4b; --bad: #b3382c; --even: #8a6a12; --mark: #2f6690; --fill: #eaf1f6; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14171a; --card: #1b1f24; --ink: #e6e8ea; --soft: #9aa4ae; --line: #31373e;
  --good: #5cc48d; --bad: #ee8377; --even: #d9b656; --mark: #7db4dc; --fill: #232c34; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
header p.experiment { margin: 0; color: var(--soft); }
h1 { font-size: 1.6rem; line-height: 1.35; font-weight: 650; margin: .3rem 0 1.2rem;
  padding-left: 1rem; border-left: .4rem solid var(--even); text-wrap: pretty; }
h1.helps, h1.at-chance { border-color: var(--good); }
h1.hurts, h1.leak, h1.no-better-than-constant { border-color: var(--bad); }
h2 { font-size: 1.15rem; font-weight: 650; margin: 2.6rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; }
p.note, figcaption { color: var(--soft); font-size: .9rem; }
section ul { margin: .3rem 0; padding-left: 1.2rem; color: var(--soft); font-size: .9rem; }
ul.facts { list-style: none; display: flex; flex-wrap: wrap; gap: .4rem 2rem; margin: 1.2rem 0 0;
  padding: 0; color: var(--soft); }
ul.facts b { color: var(--ink); font-weight: 600; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; }
.tall { max-height: 40rem; overflow-y: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; text-align: right; vertical-align: top; white-space: nowrap; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
thead th { border-bottom: 1px solid var(--line); }
.tall thead { position: sticky; top: 0; background: var(--card); z-index: 1; }
thead tr.over th { border-bottom: none; padding-bottom: 0; font-weight: 500; text-align: center; }
tbody tr + tr td, tbody tr + tr th { border-top: 1px solid var(--line); }
tbody th { text-align: left; vertical-align: top; color: var(--ink); font-weight: 500; }
th.text, td.text { text-align: left; } td.wrap { white-space: normal; min-width: 10rem; }
tr.compared { background: var(--fill); }
td.best { font-weight: 700; } td small { color: var(--soft); }
.good { color: var(--good); } .bad { color: var(--bad); } .soft { color: var(--soft); }
i.swatch { display: inline-block; width: .7em; height: .7em; border-radius: 50%;
  margin-right: .5em; }
td.share { width: 32%; min-width: 9rem; }
td.share svg { display: block; width: 100%; height: .6rem; margin-top: .45rem; }
td.share rect { fill: var(--mark); }
figure { margin: 0; }
svg.map { display: block; width: 100%; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; }
svg.map text { font-size: 19px; font-weight: 700; text-anchor: middle; fill: var(--ink);
  stroke: var(--card); stroke-width: 5px; paint-order: stroke; stroke-linejoin: round; }
svg.interval { display: block; width: 100%; max-width: 40rem; margin-top: .5rem; }
svg.interval text { font-size: 14px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg.interval .value { fill: var(--ink); font-weight: 650; }
svg.interval .zero { stroke: var(--soft); stroke-dasharray: 3 3; }
svg.interval .bar { stroke: var(--mark); stroke-width: 5; stroke-linecap: round; }
svg.interval circle { fill: var(--mark); stroke: var(--page); stroke-width: 2; }
code, pre { font: .86rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
td code { overflow-wrap: anywhere; white-space: normal; }
details { margin-top: .9rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; padding: .6rem .9rem; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; margin: .6rem 0 .2rem; }
@media print { .tall { max-height: none; } main { padding: 0; } }
"""

_TOP = """\
{%- macro section(title) -%}
<section>
<h2>{{ title }}</h2>
{{ caller() }}</section>
{%- endmacro -%}
{%- macro fact_list(facts) -%}
<ul class="facts">
{% for name, value in facts %}
<li>{{ name }} <b>{{ value }}</b></li>
{% endfor %}
</ul>
{%- endmacro -%}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Shoal: {{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<main>
"""

_END = """\
</main>
</body>
</html>
"""

TEMPLATE = """\
<header>
<p class="experiment">Shoal · experiment <b>{{ experiment }}</b> · generation {{ generation }}</p>
<h1 class="{{ verdict_class }}">{{ sentence }}</h1>
<p>{{ gate }}</p>
{% for line in incomplete %}
<p class="bad">{{ line }}</p>
{% endfor %}
{% if interval %}
{{ interval }}
<p class="note">Difference in {{ metric_name }}, pool minus generalist, with its 95 % interval from
a paired bootstrap over the {{ drawn }} ({{ resamples }} resamples, seed {{ bootstrap_seed }}).</p>
{% endif %}
{{ fact_list(facts) }}
{% if answers %}
<p>What each choice of settings did, and which won where:
<a href="{{ answers }}">{{ answers }}</a>.</p>
{% endif %}
</header>

{% call section("Contenders") %}
<p class="note">All on the same {{ drawn }}, each scored once; the best
{{ metric_name }} is bold, the two that the verdict compares are shaded. {{ equality }}</p>
<div class="scroll"><table>
<thead><tr><th class="text">Contender</th><th>{{ metric_name }}</th>
{% if with_loss %}<th>Log-loss</th><th>Calibration error</th>{% endif %}
<th>Worst partition</th><th>Training</th><th>Inference per row</th></tr></thead>
<tbody>
{% for row in contenders %}
<tr{% if row.compared %} class="compared"{% endif %}><th>{{ row.title }}</th>
<td{% if row.best %} class="best"{% endif %}>{{ row.score }}</td>
{% if with_loss %}<td>{{ row.log_loss }}</td><td>{{ row.calibration }}</td>{% endif %}
<td>{{ row.worst }}{% if row.worst_where %}<br><small>{{ row.worst_where }}</small>{% endif %}</td>
<td>{{ row.training }}</td><td>{{ row.inference }}</td></tr>
{% endfor %}
</tbody></table></div>
{% if trained_on %}
<p class="note">Trained on:</p>
<ul>
{% for title, data in trained_on %}
<li><b>{{ title }}</b>: {{ data }}</li>
{% endfor %}
</ul>
{% endif %}
{% endcall %}

{% call section("Partitions") %}
<p class="note">Validation loss of the base, which specialists start from, and of the chosen
specialist on the partition's validation rows; {{ metric_name }} of generalist and pool on its test
rows. Differences on fewer than {{ worst_rows }} test rows{% if units %}, or on those of fewer than
{{ worst_units }} {{ units }},{% endif %} are grey: they say little.</p>
<div class="scroll tall"><table>
<thead><tr class="over"><th></th><th colspan="{{ 4 if units else 3 }}">Rows</th>
<th colspan="2"></th>
<th colspan="2">Validation loss</th><th colspan="3">Test {{ metric_name }}</th></tr>
<tr><th class="text">Partition</th><th>train</th><th>validation</th><th>test</th>
{% if units %}<th>test {{ units }}</th>{% endif %}
<th class="text">Grid point</th><th class="text">Served by</th><th>base</th><th>specialist</th>
<th>generalist</th><th>pool</th><th>difference</th></tr></thead>
<tbody>
{% for row in partitions %}
<tr><th><i class="swatch" style="background:{{ row.colour }}"></i>{{ row.name }}</th>
<td>{{ row.train }}</td><td>{{ row.validation }}</td><td>{{ row.test }}</td>
{% if units %}<td>{{ row.test_units }}</td>{% endif %}
<td class="text wrap">{{ row.grid_point }}</td><td class="text">{{ row.server }}</td>
<td>{{ row.base_loss }}</td><td>{{ row.specialist_loss }}</td>
<td>{{ row.generalist }}</td><td>{{ row.pool }}</td>
<td class="{{ row.tone }}">{{ row.difference }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endcall %}

{% if candidates %}
{% call section("How many partitions") %}
<p class="note">Probes, short trainings from the base, with each number of partitions: their mean
loss on validation rows that choose no grid point. The best is taken where it is clearly better than
1 partition.</p>
<div class="scroll"><table>
<thead><tr><th>Partitions</th><th>Validation loss</th><th>less than with 1, and standard error</th>
<th class="text">Taken</th></tr></thead>
<tbody>
{% for row in candidates %}
<tr{% if row.taken %} class="compared"{% endif %}><td>{{ row.partitions }}</td>
<td>{{ row.loss }}</td><td>{{ row.gain }}</td>
<td class="text">{{ "yes" if row.taken else "" }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endcall %}
{% endif %}

{% if map %}
{% call section("Partition map") %}
<figure>{{ map }}
<figcaption>{{ map_caption }}</figcaption></figure>
{% endcall %}
{% endif %}

{% call section("Rows") %}
<div class="scroll"><table>
<thead><tr><th class="text">What became of them</th><th>Rows</th>
<th>Share</th><th></th></tr></thead>
<tbody>
{% for row in rows %}
<tr><th>{{ row.name }}</th><td>{{ row.count }}</td><td>{{ row.percent }}</td>
<td class="share">{{ row.bar }}</td></tr>
{% endfor %}
</tbody></table></div>
<p class="{{ 'bad' if rows_missing else 'note' }}">{{ rows_sentence }}</p>
{% if rejection %}<p>{{ rejection }}</p>{% endif %}
{% endcall %}

{% call section("Leak check") %}
<p class="note">{{ leaks_checked }}</p>
{% for line in leaks %}
<p class="bad">{{ line }}</p>
{% else %}
<p>No leak was found.</p>
{% endfor %}
{% endcall %}

{% call section("Compute") %}
<div class="scroll"><table>
<thead><tr><th class="text">Stage</th><th>Jobs</th><th>Seconds, summed</th><th>FLOPs</th>
<th>Share</th><th></th></tr></thead>
<tbody>
{% for row in stages %}
<tr><th>{{ row.name }}</th><td>{{ row.jobs }}</td><td>{{ row.seconds }}</td>
<td>{{ row.flops }}</td><td>{{ row.percent }}</td><td class="share">{{ row.bar }}</td></tr>
{% endfor %}
</tbody></table></div>
<p class="note">What making the pool cost, baselines left out. Matrix products, convolutions and
attention are counted, element-wise work is not.</p>
{% if cluster %}
<p>What the last run took on the cluster, jobs, waiting and failures counted:
<a href="{{ cluster }}">{{ cluster }}</a>.</p>
{% endif %}
{% endcall %}

{% call section("Lineage") %}
<div class="scroll"><table>
<tbody>
{% for name, value in lineage %}
<tr><th>{{ name }}</th><td class="text"><code>{{ value }}</code></td></tr>
{% endfor %}
</tbody></table></div>
<details><summary>Settings</summary><pre>{{ settings }}</pre></details>
{% if digests %}
<details><summary>Digests of the partitions</summary><pre>{{ digests }}</pre></details>
{% endif %}
{% endcall %}
"""


def render(title: str, body: str, content: Mapping[str, Any]) -> str:
    """One self-contained page in Shoal's style; the same input gives the same text.

    Args:
        title: What follows Shoal's name in the title.
        body: Jinja template of what is within ``main``; the macros ``section`` and
            ``fact_list`` are at hand.
        content: The template's values.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup(STYLE)  # noqa: S704 - a constant of this package
    template = environment.from_string(_TOP + body + _END)
    return template.render(**content, title=title, style=style)
