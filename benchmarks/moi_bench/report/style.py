"""The style of the page: narrow screens scroll wide tables inside their own box, paper shows them whole."""

STYLE = """
:root{--ink:#1b1f24;--soft:#5b6570;--line:#d5dae0;--paper:#fff;--bad:#a3341f;
--c0:#1f5fa8;--c1:#b4531a;--c2:#2e7d4f;--c3:#7a3e9d;--c4:#8a6d00;--c5:#444}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa5b1;--line:#3a424b;--paper:#15181c;--bad:#ff9a80;
--c0:#6fb1ff;--c1:#ff9d5c;--c2:#6fd39a;--c3:#cf9bf0;--c4:#e0c14a;--c5:#bbb}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2}h2{font-size:1.25rem;margin-top:2.2rem}h3{font-size:1.05rem}
pre{white-space:pre-wrap;margin:.3rem 0;padding:.5rem;border:1px solid var(--line);border-radius:4px;font-size:.85rem}
ul{padding-left:1.2rem}li{margin:.4rem 0}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .4rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:600;vertical-align:bottom}
th:first-child,td:first-child{text-align:left}
.missing{color:var(--bad);font-size:.9rem}
figure{margin:1rem 0}figcaption{font-size:.9rem;color:var(--soft)}
svg{width:100%;max-width:40rem;height:auto;display:block}
svg text{font-size:15px;fill:var(--ink)}
svg polyline{fill:none;stroke-width:2.5}svg line{stroke-width:2.5}
svg .grid{stroke:var(--line);stroke-width:1}svg .zero{stroke:var(--soft);stroke-width:1.5}
svg .ref{stroke:var(--soft);stroke-width:2}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}
.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}
circle.s0{fill:var(--c0)}circle.s1{fill:var(--c1)}circle.s2{fill:var(--c2)}
circle.s3{fill:var(--c3)}circle.s4{fill:var(--c4)}circle.s5{fill:var(--c5)}
.key{white-space:nowrap;margin-right:.8rem;font-weight:600}
.key.s0{color:var(--c0)}.key.s1{color:var(--c1)}.key.s2{color:var(--c2)}
.key.s3{color:var(--c3)}.key.s4{color:var(--c4)}.key.s5{color:var(--c5)}
@media(max-width:30rem){svg text{font-size:21px}}
@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--paper:#fff;--bad:#7a1f0c;
--c0:#1f5fa8;--c1:#b4531a;--c2:#2e7d4f;--c3:#7a3e9d;--c4:#8a6d00;--c5:#444}
@page{margin:15mm}main{max-width:none;padding:0}.wide{overflow:visible}
table{font-size:7.5pt;width:100%}th,td{white-space:normal;padding:2pt 4pt}
figure,tr,li{break-inside:avoid}h2,h3{break-after:avoid}thead{display:table-header-group}}
"""
