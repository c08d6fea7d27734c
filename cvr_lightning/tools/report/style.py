"""The style of the page: inline, light or dark as the reader's system is, fit for print."""

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c2733; --paper: #fff; --line: #d7dde4; --soft: #f4f6f8; --warn: #9a4a12; --bar: #9fc3ea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #dfe6ee; --paper: #15191e; --line: #38424d; --soft: #1e242b; --warn: #f0a56b; --bar: #2f5d8f;
  }
}
body {
  font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1080px; margin: 0 auto; padding: 1.5rem;
}
h1 { font-size: 1.6rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.3rem 0 .4rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td {
  text-align: left; vertical-align: top; padding: .25rem .8rem .25rem .3rem;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere;
}
thead th { background: var(--soft); }
tbody th { font-weight: 500; }
.note { opacity: .75; margin: .2rem 0 .8rem; }
.missing {
  color: var(--warn); border-left: 3px solid var(--warn); padding-left: .6rem; overflow-wrap: anywhere;
}
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 1rem; }
figure { margin: 0 0 1rem; break-inside: avoid; }
figcaption { font-size: .9rem; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; }
svg text { font-size: 11px; fill: currentColor; }
.key { display: inline-block; margin-right: 1rem; }
.key svg { margin-right: .35rem; }
.bar {
  display: inline-block; min-width: 14rem; padding-left: .3rem;
  background: linear-gradient(var(--bar), var(--bar)) no-repeat;
  print-color-adjust: exact; -webkit-print-color-adjust: exact;
}
img { max-width: 100%; background: #fff; border: 1px solid var(--line); }
pre {
  background: var(--soft); padding: .8rem; font-size: .8rem; white-space: pre-wrap; overflow-wrap: anywhere;
}
@media print {
  body { max-width: none; padding: 0; font-size: 11px; }
  h2, h3 { break-after: avoid; }
}
"""
