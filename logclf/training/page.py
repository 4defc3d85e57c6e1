"""The frame of a training report's page: its policy and its style."""

STYLE = """
:root { color-scheme: light dark; --surface: #ffffff; --raised: #f5f6f8; --ink: #1c2026; --muted: #5d6671;
  --line: #d9dde2; --right: #1f4fa3; --wrong: #b4500a; --on-cell: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --surface: #14171b; --raised: #1d2127; --ink: #e6e9ed; --muted: #9aa4af; --line: #333a42;
    --right: #8ab8ff; --wrong: #ff9f5a; --on-cell: #0c1116; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 68rem; background: var(--surface); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 1.15rem; margin: 0 0 1rem; }
h1 small { font-weight: 400; font-size: 1rem; color: var(--muted); overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 3rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { max-width: 46rem; margin: .5rem 0; }
.lead { font-size: 1.5rem; line-height: 1.35; font-weight: 600; max-width: 54rem; padding-left: 1rem;
  border-left: 4px solid var(--right); margin-bottom: 1rem; }
.lead.open { border-left-color: var(--wrong); }
dl { display: flex; flex-wrap: wrap; gap: .75rem 2rem; margin: 1.5rem 0 0; padding: 1rem 1.25rem;
  background: var(--raised); border-radius: 6px; }
dt { font-size: .8rem; color: var(--muted); }
dd { margin: 0; font-size: 1.2rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .75rem 0; font-size: .9rem; }
th { text-align: left; font-weight: 600; color: var(--muted); white-space: nowrap; }
th, td { padding: .35rem 1.25rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  max-width: 34rem; overflow-wrap: anywhere; unicode-bidi: isolate; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:not(.n) { min-width: 9rem; }
td:first-child { min-width: 12rem; }
table.lines { width: 100%; }
table.lines td:first-child { width: 60%; }
code { font: .82rem/1.45 ui-monospace, "SF Mono", "DejaVu Sans Mono", Menlo, monospace; white-space: pre-wrap; }
figure { margin: 1.5rem 0; }
figure svg { display: block; max-width: 100%; height: auto; overflow: visible; }
figure svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif !important;
  white-space: pre; }
figure:not(.confusion) svg text { paint-order: stroke; stroke: var(--surface); stroke-width: 3px; }
figcaption { max-width: 46rem; font-size: .85rem; color: var(--muted); margin-top: .5rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 0 2.5rem; }
@media (max-width: 60rem) { figure.confusion svg { max-width: none; } }
@media print { section { break-inside: avoid-page; } .wide { overflow: visible; } }
"""

# Nothing from elsewhere and no script, whatever a log line or a label says.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

FRAME = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{title}}</title>
<style>{STYLE.replace("{", "{{").replace("}", "}}")}</style>
</head>
<body>
{{body}}
</body>
</html>
"""
