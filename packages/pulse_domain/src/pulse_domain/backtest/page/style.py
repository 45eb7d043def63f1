"""What the page looks like, and the little it does by itself."""

CSS = """
:root { color-scheme: light; --ink: #1e2630; --soft: #5d6975; --line: #dde2e7; --wash: #f5f7f9;
  --buy: #1565a9; --sell: #b5471a; --good: #1f7a55; --bad: #b3261e; --warn: #8a5f00; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 14px/1.45 system-ui, -apple-system, "Segoe UI",
  Roboto, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 1360px; margin: 0 auto; padding: 28px 32px 48px; }
h1 { font-size: 25px; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 40px 0 4px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 26px 0 0; }
p { margin: 4px 0 8px; max-width: 110ch; }
.soft, small { color: var(--soft); }
.note { border-left: 3px solid #e0b64a; padding: 3px 10px; background: #fdf8ea; display: inline-block; }
.headline { display: flex; flex-wrap: wrap; gap: 10px; margin: 20px 0 10px; }
.headline div { flex: 1 1 auto; min-width: 170px; padding: 10px 14px; border: 1px solid var(--line);
  border-radius: 6px; background: var(--wash); }
.headline dt, .figures dt { color: var(--soft); font-size: 12.5px; }
.headline dd { margin: 0; font-size: 22px; font-weight: 600; white-space: nowrap; }
.headline small { display: block; font-size: 12px; font-weight: 400; white-space: normal; min-height: 1.45em; }
dl { margin: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(270px, 1fr)); gap: 4px 10px; }
.figures div { display: flex; justify-content: space-between; gap: 8px; padding: 3px 14px;
  border-bottom: 1px solid var(--line); }
.figures dd { margin: 0; font-weight: 500; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); }
.buy { color: var(--buy); font-weight: 600; } .sell { color: var(--sell); font-weight: 600; }
.plot { width: 100%; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: 4px 8px; vertical-align: top; }
th { color: var(--soft); font-weight: 600; font-size: 12.5px; border-bottom: 1px solid var(--line); }
th.n, td.n { text-align: right; } td.n { white-space: nowrap; }
.spread { margin: 4px 0 0; } .spread td { border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; }
.orders { width: 100%; font-size: 13px; margin-top: 10px; }
.orders > thead th { position: sticky; top: 0; background: #fff; vertical-align: bottom; padding: 0; }
th button { all: unset; box-sizing: border-box; width: 100%; padding: 6px 8px; cursor: pointer; }
th button:hover, th button:focus-visible { color: var(--ink); text-decoration: underline; }
th[aria-sort] button { color: var(--ink); }
th[aria-sort="ascending"] button::after { content: " ▲"; }
th[aria-sort="descending"] button::after { content: " ▼"; }
.orders > tbody { border-bottom: 1px solid var(--line); }
.orders > tbody > tr:first-child > td { padding-top: 8px; }
.orders > tbody > tr:first-child > td:nth-child(2) { white-space: nowrap; }
.orders td:first-child small { display: block; white-space: nowrap; } .orders b { overflow-wrap: anywhere; }
.life > td { padding-bottom: 8px; }
summary { cursor: pointer; display: flex; align-items: center; gap: 14px; list-style: none; }
summary::-webkit-details-marker { display: none; }
summary::before { content: "▸"; color: var(--soft); } details[open] > summary::before { content: "▾"; }
summary ol { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; font-size: 12.5px; }
summary li:not(:last-child)::after { content: "→"; color: var(--soft); margin: 0 8px; }
time { color: var(--soft); }
.bar { flex: none; width: 240px; height: 14px; background: #e6eaee; border-right: 4px solid #8a95a1; }
.bar .working { fill: #c5d8ea; } .bar .done { fill: #5b93c4; }
.bar .due { stroke: #1e2630; stroke-width: 1; vector-effect: non-scaling-stroke; fill: none; }
.bar.filled { border-color: var(--good); } .bar.partially_filled, .bar.expired { border-color: #e0a100; }
.bar.rejected, .bar.failed, .bar.unresolved { border-color: var(--bad); }
.state { font-weight: 600; white-space: nowrap; } .state.filled { color: var(--good); }
.state.partially_filled, .state.expired { color: var(--warn); }
.state.rejected, .state.failed, .state.unresolved { color: var(--bad); }
.inside { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 28px; padding: 10px 0 6px 24px; }
.inside table { font-size: 12px; } .inside th, .inside td { padding: 1px 6px; }
.inside th, .inside td:not(:last-child) { white-space: nowrap; }
@media (min-width: 1200px) { .wide { overflow: visible; } .inside { flex-wrap: nowrap; } }
.left-out { color: var(--soft); text-align: center; }
.idle { background: #e6eaee; } .working { background: #c5d8ea; } .done { background: #5b93c4; }
.key i { display: inline-block; width: 22px; height: 10px; margin: 0 5px 0 12px; vertical-align: -1px; }
footer { margin-top: 36px; color: var(--soft); font-size: 12.5px; overflow-wrap: anywhere; }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  main { padding: 0; max-width: none; } h2, h3 { break-after: avoid; } .modebar { display: none; }
  .headline div { min-width: 130px; padding-inline: 10px; }
  .plot, .orders > tbody { break-inside: avoid; } .orders > thead th { position: static; }
  .wide { overflow: visible; } .orders, .orders th, summary ol { font-size: 10.5px; }
  .orders td, th button { padding-inline: 4px; }
}
"""

# Escape sequences of JavaScript are written doubled.
JAVASCRIPT = """
const page = JSON.parse(document.getElementById("figures").textContent);
const plots = page.figures.map(({name, data, layout}) => {
  for (const axis of Object.values(layout)) {
    if (axis && axis.type === "date") axis.rangebreaks = structuredClone(page.breaks);
  }
  const plot = document.getElementById("plot-" + name);
  Plotly.newPlot(plot, data, layout, page.config);
  return plot;
});
const resize = size => plots.forEach(plot => Plotly.relayout(plot, size));
addEventListener("beforeprint", () => resize({width: 1020}));
addEventListener("afterprint", () => resize({width: null, autosize: true}));

const table = document.querySelector(".orders");
const heads = table ? [...table.tHead.rows[0].cells] : [];
heads.forEach((head, column) => head.addEventListener("click", () => {
  const down = head.ariaSort === "ascending";
  heads.forEach(other => other.removeAttribute("aria-sort"));
  head.ariaSort = down ? "descending" : "ascending";
  const byNumber = head.classList.contains("n");
  const value = body => {
    const cell = body.rows[0].cells[column];
    if (!byNumber) return cell.textContent;
    return parseFloat(cell.dataset.v ?? cell.textContent.replace(/,/g, "").replace("\\u2212", "-"));
  };
  const compare = byNumber
    ? (a, b) => isNaN(a) - isNaN(b) || (down ? b - a : a - b)
    : (a, b) => (down ? -1 : 1) * a.localeCompare(b, "en", {numeric: true});
  const bodies = [...table.tBodies].map(body => [value(body), body]);
  bodies.sort((a, b) => compare(a[0], b[0]));
  table.append(...bodies.map(([, body]) => body));
}));
"""
