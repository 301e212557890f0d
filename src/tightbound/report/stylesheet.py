"""The look of the page: paper-like, one column, system fonts; narrow screens scroll inside pictures and tables."""

STYLESHEET = """
:root { color-scheme: light; --ink: #22272e; --muted: #5b6470; --rule: #dfe3e8; --tint: #f5f7f9; --blue: #1f5a8c;
  --orange: #b4530f; --sand: #fdf0dc; }
* { box-sizing: border-box; }
html { background: #fff; -webkit-text-size-adjust: 100%; }
body { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; color: var(--ink); line-height: 1.55;
  font-family: system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Roboto, Arial, sans-serif; font-size: 1rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .75rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--rule); }
p { margin: 0 0 .9rem; overflow-wrap: anywhere; }
.summary { font-size: 1.06rem; }
nav { font-size: .9rem; color: var(--muted); margin: 1.1rem 0; }
nav ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .15rem 1rem; }
a { color: var(--blue); text-decoration: none; }
a:hover, a:focus { text-decoration: underline; }
aside { background: var(--sand); border-left: 4px solid #d8973c; padding: .8rem 1rem; margin: 1.2rem 0;
  font-size: .95rem; }
aside h2 { font-size: .95rem; border: 0; margin: 0 0 .3rem; padding: 0; }
aside ul { margin: 0; padding-left: 1.1rem; overflow-wrap: anywhere; }
aside li + li { margin-top: .25rem; }
figure { margin: 0 0 1.6rem; }
.picture, .wide { overflow-x: auto; }
.picture svg, .picture img { display: block; width: calc(var(--share) * 100%); height: auto; }
.picture svg * { stroke-linejoin: round; stroke-linecap: butt; }
figcaption { font-size: .88rem; line-height: 1.45; color: var(--muted); }
figcaption { margin-top: .45rem; max-width: 42rem; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.4; font-variant-numeric: tabular-nums;
  min-width: 60%; }
.evidence, .settings { width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .38rem .9rem .38rem 0; border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-weight: 600; font-size: .82rem; color: var(--muted); border-bottom: 1.5px solid var(--muted);
  vertical-align: bottom; }
.number { text-align: right; }
tbody .number { white-space: nowrap; }
.error { color: var(--muted); }
.kind { white-space: nowrap; }
.lowest { font-size: .8rem; table-layout: fixed; width: min(100%, var(--columns) * 7rem); min-width: 0; }
.lowest td, .lowest th { padding-left: .3rem; padding-right: .3rem; overflow-wrap: anywhere; }
.lowest th:first-child { width: 3.6rem; }
.lowest .far { background: var(--sand); font-weight: 600; }
.lowest small { display: block; font-weight: 400; font-size: .76rem; color: var(--orange); }
h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; }
.health { width: 100%; }
.small { font-size: .84rem; margin-bottom: 1.2rem; width: 100%; }
.health, .small { line-height: 1.4; }
.health { font-size: .84rem; }
.health th, .health td, .small th, .small td { padding-right: .8rem; overflow-wrap: break-word; }
.small th:last-child, .small td:last-child, .health td:last-child { padding-right: 0; }
.health small, .small small { display: block; font-weight: 400; font-size: .76rem; color: var(--muted); }
.health .measured { white-space: normal; min-width: 6.5rem; max-width: 10rem; }
.health .verdict { min-width: 6rem; }
.columns td, .columns th { padding-top: .5rem; }
.columns th:first-child { overflow-wrap: break-word; max-width: 8.5rem; }
.columns .panel { width: 47%; padding-right: .6rem; }
.columns .panel svg { display: block; width: 100%; height: auto; min-width: 12rem; }
.anomalous .cells { overflow-wrap: anywhere; }
.mark { white-space: nowrap; font-weight: 600; }
.mark.problem, .flagged { color: var(--orange); }
.mark.problem { background: var(--sand); padding: 0 .3rem; margin-left: -.3rem; }
.mark.unknown, .mark.fine { font-weight: 400; color: var(--muted); }
.wide { margin-bottom: 1rem; }
figure .wide { margin-bottom: 0; }
.missing { color: var(--muted); }
.settings th { font-weight: 400; color: var(--muted); width: 35%; }
.settings td, .settings th { overflow-wrap: anywhere; }
footer { margin-top: 2.5rem; padding-top: .75rem; border-top: 1px solid var(--rule); font-size: .85rem;
  color: var(--muted); }
@media (max-width: 34rem) {
  body { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  .picture svg, .picture img { min-width: calc(var(--share) * 27rem); }
  .evidence { min-width: 40rem; }
  .health, .small { min-width: 32rem; }
  .lowest { width: calc(var(--columns) * 5.4rem); }
}
@media print {
  @page { margin: 16mm 15mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2 { break-after: avoid; margin-top: 1.6rem; }
  figure, aside, tr { break-inside: avoid; }
  .picture, .wide { overflow: visible; }
  .picture { max-width: 15cm; }
  thead { display: table-header-group; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""
