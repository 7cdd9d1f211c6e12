"""Template (Jinja) of the page that says what each choice did."""

TEMPLATE = """\
{%- macro broken(name) -%}{{ name | e | replace(".", ".<wbr>" | safe) }}{%- endmacro -%}
<style>
th.name { white-space: normal; text-align: left; }
figure { margin: .6rem 0; }
</style>
<header>
<p class="experiment">Shoal · experiment <b>{{ experiment }}</b> · what the choices did</p>
<h1>{{ headline }}</h1>
{{ fact_list(facts) }}
</header>

{% call section("Scores") %}
<p class="note">Variants, the best on validation first. The validation score, of the pool on
validation rows that chose nothing else, is what chooses; the test rows choose nothing.
{% if regression %}It is minus the mean squared error of standardised labels.{% endif %}
Test {{ metric }} is the pool's, with its 95 % bootstrap interval over the test rows; the one of the
variant that was chosen on validation is an honest one, the highest of the column is not.</p>
{% if several %}
<figure>{{ plots.scores }}</figure>
{% endif %}
<div class="scroll tall"><table>
<thead><tr><th class="text">{{ "Variant" if several else "Experiment" }}</th>
<th>Validation</th><th>Test</th><th>95 % interval</th>
{% for name in names %}<th class="name">{{ broken(name) }}</th>{% endfor %}
<th>Partitions</th><th>Generalist</th><th class="text">Splitting</th></tr></thead>
<tbody>
{% for row in variants %}
<tr{% if loop.first and several %} class="compared"{% endif %}>
<th><a href="{{ row.page }}">{{ row.name }}</a></th>
<td>{{ row.validation }}</td><td>{{ row.test }}</td><td>{{ row.interval }}</td>
{% for value in row["values"] %}<td class="text">{{ value }}</td>{% endfor %}
<td>{{ row.partitions }}</td><td>{{ row.generalist }}</td>
<td class="text">{{ row.verdict }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endcall %}

{% if replicates %}
{% call section("Replicates") %}
<p class="note">Variants that differ in their seed alone: mean ± standard deviation over n seeds. A
seed decides the split, the initial weights and the order of rows.</p>
<div class="scroll tall"><table>
<thead><tr>{% for name in replicate_names %}<th class="name">{{ broken(name) }}</th>{% endfor %}
<th>n</th><th>Validation</th><th>Test</th><th>Generalist, test</th></tr></thead>
<tbody>
{% for row in replicates %}
<tr>{% for value in row["values"] %}<td class="text">{{ value }}</td>{% endfor %}
<td>{{ row.n }}</td>{% for spread in row.spreads %}<td>{{ spread }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endcall %}
{% endif %}

{% if several %}
{% call section("What explains the scores") %}
<p class="note">Share of the variation of the variants' validation scores (a functional analysis of
variance); one variant is one score. The red mark is the share that a choice would be expected to
have if scores were drawn at random.</p>
{% if "variation" in plots %}<figure>{{ plots.variation }}</figure>{% endif %}
<p class="note">{{ scores }}</p>
{% endcall %}
{% endif %}

{% if points or wins %}
{% call section("What explains the losses within partitions") %}
<p class="note">The same of the grid's validation losses. One score is the loss of one grid point in
one partition of one variant, less the mean of that partition's grid points: how hard a partition is
does not count. What is left to the rest are winners that differ from partition to partition, and
chance.</p>
{% if "hyperparameters" in plots %}<figure>{{ plots.hyperparameters }}</figure>{% endif %}
<p class="note">{{ losses }}</p>
{% endcall %}

{% call section("Which grid point won where") %}
<p class="note">A partition chooses the grid point with the lowest mean loss on one half of its
validation rows. The margin is the next best point's loss minus the winner's, with a paired 95 %
interval (t) over those rows, or over groups, clusters or blocks where the split keeps rows
together; it is clear where the interval leaves out zero. The winner was chosen
on the same rows, which makes margins look wider than they are on others.</p>
<div class="scroll tall"><table>
<thead><tr><th class="text">Grid point</th><th>won in</th><th>share</th>
<th>clearly</th></tr></thead>
<tbody>
{% for row in wins %}
<tr><th>{{ row.point }}</th><td>{{ row.won }}</td><td>{{ row.share }}</td>
<td>{{ row.clearly }}</td></tr>
{% endfor %}
</tbody></table></div>
{% if "winners" in plots %}<figure>{{ plots.winners }}
<figcaption>A column a partition{% if several %}, a row a variant in the order of the table of
scores; partitions of different variants hold different rows{% endif %}. Faint where the margin is
not clear; empty where there are no rows to choose by, or no specialist.</figcaption>
</figure>{% endif %}
<p class="note">{% if several %}The partitions of variant <b>{{ best }}</b>, the best on validation;
those of all are in <code>winners.parquet</code>.{% endif %}</p>
<div class="scroll tall"><table>
<thead><tr><th class="text">Partition</th><th class="text">Winner</th><th>Rows</th>
{% for point in points %}<th>{{ point }}</th>{% endfor %}
<th class="text">Next best</th><th>Margin</th><th>95 % interval</th></tr></thead>
<tbody>
{% for row in winners %}
<tr><th>{{ row.name }}</th><td class="text">{{ row.winner }}</td><td>{{ row.rows }}</td>
{% for loss, won in row.losses %}<td{% if won %} class="best"{% endif %}>{{ loss }}</td>{% endfor %}
<td class="text">{{ row.next }}</td><td class="{{ row.tone }}">{{ row.margin }}</td>
<td class="{{ row.tone }}">{{ row.interval }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endcall %}

{% call section("How winners moved") %}
{% if compared %}
<p>Since the last release of other rows: {{ counts["same rows"] }} partitions have the training and
validation rows that they had, so they chose nothing again; of those with other rows
{{ counts.kept }} kept their winner and {{ counts.moved }} moved. {{ counts.new }} have a specialist
only now, {{ counts.gone }} had one only before.</p>
{% if listed %}
<div class="scroll tall"><table>
<thead><tr>{% if several %}<th class="text">Variant</th>{% endif %}<th>Partition</th>
<th class="text">Before</th><th class="text">After</th></tr></thead>
<tbody>
{% for row in listed %}
<tr>{% if several %}<th>{{ row.variant }}</th>{% endif %}<td>{{ row.partition }}</td>
<td class="text">{{ row.before }}</td><td class="text">{{ row.after }}</td></tr>
{% endfor %}
</tbody></table></div>
{% if unlisted %}
<p class="note">And {{ unlisted }} more in <code>moves.parquet</code>.</p>
{% endif %}
{% endif %}
{% else %}
<p class="note">There is no earlier release of other rows with the same settings, code and
generation to compare with.</p>
{% endif %}
{% endcall %}
{% endif %}

<p class="note">Beside this page: <code>variants</code>, <code>replicates</code>,
<code>variation</code>, <code>winners</code>, <code>losses</code> and <code>moves</code> as Parquet,
the plots as SVG.</p>
"""
