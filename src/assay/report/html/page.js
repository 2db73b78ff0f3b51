"use strict";
// Everything shown comes from an image that may be hostile: it becomes text nodes only, never markup.
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const el = (tag, cls, ...kids) => {
    const node = document.createElement(tag);
    if (cls) node.className = cls;
    for (const kid of kids) if (kid !== null && kid !== undefined && kid !== "") node.append(kid);
    return node;
  };
  const number = (n) => n.toLocaleString("en");
  const unpack = async (id) => {
    const holder = $(id);
    const text = atob(holder.textContent);
    holder.remove();
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  };
  const middle = (text, limit) =>
    text.length <= limit ? text : text.slice(0, limit / 3) + "…" + text.slice(text.length - (limit * 2) / 3);

  // A list that has nodes only for the rows in sight.
  class List {
    constructor(box, height, draw, open) {
      Object.assign(this, { box, height, draw, open, spacer: box.firstElementChild, rows: [], at: -1, nodes: new Map() });
      box.addEventListener("scroll", () => this.paint(), { passive: true });
      new ResizeObserver(() => this.paint()).observe(box);
      box.addEventListener("keydown", (event) => this.key(event));
      box.addEventListener("click", (event) => {
        const row = event.target.closest("[role=option]");
        if (row) { this.select(Number(row.dataset.i)); this.open?.(this.rows[this.at]); }
      });
    }
    show(rows) {
      this.total = rows.length;
      // Browsers cannot scroll beyond some 2^24 pixels; a search brings the others into reach.
      this.rows = rows.length * this.height > 16e6 ? rows.slice(0, 16e6 / this.height) : rows;
      this.at = -1;
      for (const node of this.nodes.values()) node.remove();
      this.nodes.clear();
      this.spacer.style.height = `${this.rows.length * this.height}px`;
      this.box.scrollTop = 0;
      this.box.removeAttribute("aria-activedescendant");
      this.paint();
    }
    paint() {
      const first = Math.max(0, Math.floor(this.box.scrollTop / this.height) - 6);
      const last = Math.min(this.rows.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / this.height) + 6);
      for (const [i, node] of this.nodes) if (i < first || i >= last) { node.remove(); this.nodes.delete(i); }
      for (let i = first; i < last; i++) {
        if (this.nodes.has(i)) continue;
        const node = this.draw(this.rows[i]);
        node.id = `${this.box.id}-${i}`;
        node.dataset.i = i;
        node.style.top = `${i * this.height}px`;
        node.setAttribute("role", "option");
        node.setAttribute("aria-selected", i === this.at);
        node.setAttribute("aria-posinset", i + 1);
        node.setAttribute("aria-setsize", this.rows.length);
        this.nodes.set(i, node);
        this.spacer.append(node);
      }
    }
    select(i) {
      if (!this.rows.length) return;
      this.nodes.get(this.at)?.setAttribute("aria-selected", "false");
      this.at = Math.max(0, Math.min(this.rows.length - 1, i));
      const top = this.at * this.height;
      if (top < this.box.scrollTop) this.box.scrollTop = top;
      else if (top + this.height > this.box.scrollTop + this.box.clientHeight)
        this.box.scrollTop = top + this.height - this.box.clientHeight;
      this.paint();
      this.nodes.get(this.at).setAttribute("aria-selected", "true");
      this.box.setAttribute("aria-activedescendant", `${this.box.id}-${this.at}`);
    }
    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const page = Math.max(1, Math.floor(this.box.clientHeight / this.height) - 1);
      const moves = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
      if (event.key in moves) this.select(this.at + moves[event.key]);
      else if (event.key === "Enter" && this.at >= 0) this.open?.(this.rows[this.at], true);
      else return;
      event.preventDefault();
      event.stopPropagation();
    }
  }

  // All texts in one string: one scan finds a term in tens of thousands of them.
  class Haystack {
    constructor(texts) {
      const lower = texts.map((text) => text.toLowerCase());
      this.ends = new Uint32Array(lower.length);
      lower.reduce((at, text, i) => (this.ends[i] = at + text.length + 1), 0);
      this.text = lower.join("\n");
    }
    // Return an array with 1 for each text that has the term (which has no white space in it).
    having(term) {
      const found = new Uint8Array(this.ends.length);
      let i = 0;
      for (let at = this.text.indexOf(term); at >= 0; at = this.text.indexOf(term, this.ends[i - 1])) {
        while (this.ends[i] <= at) i++;
        found[i++] = 1;
        if (i === found.length) break;
      }
      return found;
    }
  }

  const COLUMNS = ["id", "rule", "message", "path", "line", "offset", "tree", "file", "facts"];
  const SEVERITY = ["critical", "high", "medium", "low", "info"];
  const FACETS = {
    verdict: (rule) => [rule.verdict],
    severity: (rule) => [rule.severity],
    criterion: (rule) => rule.criteria,
    pack: (rule) => [rule.pack],
  };
  let rules, families, findings, haystack, byPlace, evidence, findingList, binaryList, shown;
  const chosen = Object.fromEntries(Object.keys(FACETS).map((name) => [name, new Set()]));
  let onlyRule = null;
  let lists, factList, listed = null;

  // -- views ---------------------------------------------------------------------------------------------------------

  const VIEWS = ["overview", "findings", "rules", "facts", "binaries", "unseen", "record"];
  let view = "";
  function go() {
    const [where, query] = (location.hash.slice(1) || "overview").split("?", 2);
    const asked = new URLSearchParams(query || "");
    const open = /^(finding|rule)-(\d+)$/.exec(where);
    const name = open ? `${open[1]}s` : VIEWS.includes(where) ? where : "overview";
    if (name !== view) window.scrollTo(0, 0);
    view = name;
    for (const id of VIEWS) $(id).classList.toggle("shown", id === name);
    for (const link of document.querySelectorAll("nav a")) {
      if (link.getAttribute("href") === `#${name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    root.classList.toggle("opened", open?.[1] === "finding");
    if (name === "rules") showRules(asked.get("verdict"), open && Number(open[2]));
    if (!findings) return;
    if (name === "findings") {
      if (query !== undefined) {
        for (const facet in chosen) chosen[facet] = new Set(asked.getAll(facet));
        onlyRule = asked.get("rule");
        $("q").value = asked.get("q") || "";
        $("prefix").value = asked.get("prefix") || "";
        facets();
        filter();
      }
      findingList.paint();
      if (open) detail(findings.id.indexOf(Number(open[2])));
    }
    if (name === "facts") showList(asked.get("list"));
    if (name === "binaries") binaryList.paint();
  }

  function showRules(verdict, id) {
    const chips = $("rulechips");
    const known = ["fail", "undetermined", "pass", "not-applicable"];
    const kinds = [...new Set([...document.querySelectorAll(".rule")].map((rule) => rule.dataset.verdict))]
      .sort((a, b) => known.indexOf(a) - known.indexOf(b));
    chips.replaceChildren(...["all", ...kinds].map((kind) => {
      const chip = el("button", "", kind);
      chip.type = "button";
      chip.setAttribute("aria-pressed", kind === (verdict || "all"));
      chip.onclick = () => { location.hash = kind === "all" ? "#rules" : `#rules?verdict=${encodeURIComponent(kind)}`; };
      return chip;
    }));
    for (const rule of document.querySelectorAll(".rule"))
      rule.classList.toggle("hidden", Boolean(verdict) && rule.dataset.verdict !== verdict);
    if (id) {
      const rule = $(`rule-${id}`);
      if (rule) { rule.open = true; rule.scrollIntoView({ block: "center" }); rule.firstElementChild.focus(); }
    }
  }

  // -- findings ------------------------------------------------------------------------------------------------------

  function ordered() {
    const all = Uint32Array.from(findings.id.keys());
    const kind = $("sort").value;
    if (kind === "place") {
      byPlace ??= all.slice().sort((a, b) => (findings.path[a] < findings.path[b] ? -1 : findings.path[a] > findings.path[b] ? 1 : a - b));
      return byPlace;
    }
    if (kind === "found") return all;
    const rank = rules.map((rule, i) => [rule.verdict === "fail" ? 0 : 1, SEVERITY.indexOf(rule.severity), i])
      .sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
    const place = new Uint32Array(rules.length);
    rank.forEach((entry, i) => { place[entry[2]] = i; });
    return all.sort((a, b) => place[findings.rule[a]] - place[findings.rule[b]] || a - b);
  }
  let order = [], orderKind = "";

  function filter() {
    const start = performance.now();
    const kind = $("sort").value;
    if (kind !== orderKind) { order = ordered(); orderKind = kind; }
    const terms = $("q").value.toLowerCase().split(/\s+/).filter(Boolean);
    const prefix = $("prefix").value;
    const allowed = rules.map((rule) =>
      (!onlyRule || rule.name === onlyRule) &&
      Object.entries(FACETS).every(([name, values]) => !chosen[name].size || values(rule).some((value) => chosen[name].has(value))));
    const ruleText = rules.map((rule) => `${rule.name}\n${rule.title}`.toLowerCase());
    const wanted = terms.map((term) => [haystack.having(term), ruleText.map((text) => text.includes(term))]);
    shown = [];
    for (const i of order) {
      const rule = findings.rule[i];
      if (!allowed[rule] || (prefix && !findings.path[i].startsWith(prefix))) continue;
      let all = true;
      for (const [texts, inRules] of wanted) if (!texts[i] && !inRules[rule]) { all = false; break; }
      if (all) shown.push(i);
    }
    findingList.show(shown);
    const total = findings.id.length;
    const beyond = findingList.rows.length < shown.length ? `, the first ${number(findingList.rows.length)} listed` : "";
    $("count").textContent = (shown.length === total ? `${number(total)} findings` : `${number(shown.length)} of ${number(total)} findings`) +
      beyond + (onlyRule ? `, rule ${onlyRule}` : "");
    root.dataset.filterMs = (performance.now() - start).toFixed(1);
  }

  function facets() {
    const counts = new Uint32Array(rules.length);
    for (const rule of findings.rule) counts[rule]++;
    $("facets").replaceChildren(...Object.entries(FACETS).map(([name, values]) => {
      const found = new Map();
      rules.forEach((rule, i) => { if (counts[i]) for (const value of values(rule)) found.set(value, (found.get(value) || 0) + counts[i]); });
      if (!found.size) return el("div");
      const keys = [...found.keys()].sort((a, b) => (name === "severity" ? SEVERITY.indexOf(a) - SEVERITY.indexOf(b) : a < b ? -1 : 1));
      return el("fieldset", "", el("legend", "", name), ...keys.map((value) => {
        const box = el("input");
        box.type = "checkbox";
        box.checked = chosen[name].has(value);
        box.onchange = () => { chosen[name][box.checked ? "add" : "delete"](value); filter(); };
        return el("label", "box", box, el("span", "", value), el("span", "n", number(found.get(value))));
      }));
    }));
  }

  function findingRow(i) {
    const rule = rules[findings.rule[i]];
    const [line, offset] = [findings.line[i], findings.offset[i]];
    const where = findings.path[i] + (line !== null ? `:${line}` : offset !== null ? ` at offset 0x${offset.toString(16)}` : "");
    return el("div", "row", el("span", `tag sev-${rule.severity}`, rule.severity), el("p", "", middle(findings.message[i], 400)),
      ends(middle(where, 300)));
  }

  // A place whose beginning gives way first: its end (the file's name, line or offset) tells rows apart.
  function ends(where) {
    const cut = Math.max(where.lastIndexOf("/"), 0);
    const row = el("p", "path", el("span", "", where.slice(0, cut)), el("span", "", where.slice(cut)));
    row.title = where;
    return row;
  }

  const pairs = (entries) => {
    const list = el("dl", "facts");
    for (const [name, value, cls] of entries)
      if (value !== null && value !== undefined && value !== "") list.append(el("dt", "", name), el("dd", cls, value));
    return list;
  };
  const plain = (value) =>
    value === true ? "yes" : value === false ? "no" :
    Array.isArray(value) ? (value.length ? value.map(plain).join(", ") : "empty list") :
    value !== null && typeof value === "object" ? JSON.stringify(value) : value === "" ? "empty text" : String(value);

  async function detail(i, focus) {
    if (i === undefined || i < 0) return;
    root.classList.add("opened");
    if (location.hash !== `#finding-${findings.id[i]}`) history.replaceState(null, "", `#finding-${findings.id[i]}`);
    evidence ??= unpack("evidence");
    const known = await evidence;
    const rule = rules[findings.rule[i]];
    const back = el("button", "", "Back to the list");
    back.id = "back";
    back.type = "button";
    back.onclick = close;
    const box = $("detail");
    box.replaceChildren(back,
      el("div", "", el("span", `tag sev-${rule.severity}`, rule.severity), " ", el("span", `tag v-${rule.verdict}`, rule.verdict)),
      el("h2", "", findings.message[i]),
      ...place(i, known), ...facts(i, known), ...about(rule, known), ...unseen(i, rule, known));
    box.scrollTop = 0;
    if (focus) box.focus();
  }

  function place(i, known) {
    const chain = [];
    for (let id = findings.tree[i], n = 0; id !== null && known.containers[id] && n < 64; id = known.containers[id][2], n++)
      chain.unshift(known.containers[id]);
    const list = el("ul", "chain path");
    let before = "";
    for (const [path, format] of chain) {
      list.append(el("li", "", (path.startsWith(before) ? path.slice(before.length) : path) || "the artefact itself", " ", el("span", "quiet", format)));
      before = path;
    }
    if (chain.length) list.append(el("li", "", findings.path[i].startsWith(before) ? findings.path[i].slice(before.length) || "/" : findings.path[i]));
    return [pairs([["place", findings.path[i], "path"], ["line", findings.line[i]],
      ["offset", findings.offset[i] === null ? null : `${number(findings.offset[i])} (0x${findings.offset[i].toString(16)})`]]),
      chain.length ? el("h3", "", "Containers around it") : null, chain.length ? list : null].filter(Boolean);
  }

  function facts(i, known) {
    const out = [el("h3", "", "Evidence")];
    const refs = findings.facts[i];
    if (!refs.length) out.push(el("p", "none", "The finding names no single fact."));
    for (let n = 0; n < refs.length && n < 400; n += 2) {
      const family = families[refs[n]], table = known.facts[family], row = table?.rows[refs[n + 1]];
      const box = el("div", "fact", el("h4", "", `${family} ${refs[n + 1]}`));
      out.push(box);
      if (!row) { box.append(el("p", "none", "The record does not hold this fact.")); continue; }
      const fact = Object.fromEntries(table.columns.map((name, at) => [name, row[at]]));
      const hidden = new Set(["id", "content", "tree", "collector"]);
      box.append(pairs(Object.entries(fact).filter(([name, value]) => !hidden.has(name) && value !== null)
        .map(([name, value]) => [name, plain(value), "path"])));
      const empty = Object.keys(fact).filter((name) => !hidden.has(name) && fact[name] === null);
      if (empty.length) box.append(el("p", "quiet", `not stated or not known: ${empty.join(", ")}`));
      const content = known.contents[fact.content];
      if (content) {
        const [sha256, size, kind, count, places] = content;
        box.append(el("p", "quiet path", `content ${kind}, ${number(size)} bytes, SHA-256 ${sha256}`));
        if (count > 1) box.append(el("p", "quiet", `at ${number(count)} places: ${places.join(", ")}${count > places.length ? ", …" : ""}`));
      }
      const collector = known.collectors[fact.collector];
      if (collector) box.append(el("p", "quiet", `observed by ${collector[0]} ${collector[1]}, ${run(collector[2], known)}`));
    }
    if (refs.length > 400) out.push(el("p", "quiet", `and ${number(refs.length / 2 - 200)} more facts in the record`));
    return out;
  }

  const run = (id, known) => (known.runs[id] ? `run ${id} (${known.runs[id][0]}, Assay ${known.runs[id][1]}, ${known.runs[id][2]})` : `run ${id}`);

  function about(rule, known) {
    const link = el("a", "", rule.name);
    link.href = `#rule-${rule.id}`;
    return [el("h3", "", "Rule"), pairs([["rule", link], ["asks for", rule.title], ["source", [rule.document, rule.clause && `clause ${rule.clause}`].filter(Boolean).join(", ")],
      ["verdict", `${rule.verdict}${rule.reason ? `: ${rule.reason}` : ""}`], ["check", rule.check], ["limits", rule.limits], ["remedy", rule.remedy],
      ["criteria", rule.criteria.join(", ")], ["references", rule.references.join("; ")], ["judged in", run(rule.run, known)]])];
  }

  function unseen(i, rule, known) {
    const inside = new Set();
    const within = (id) => {
      for (let n = 0; id !== null && known.containers[id] && n < 64; id = known.containers[id][2], n++) if (id === findings.tree[i]) return true;
      return false;
    };
    const here = Object.values(known.unread).filter(([container, file]) => {
      if (file !== null && file === findings.file[i]) return true;
      if (container === null || findings.tree[i] === null) return false;
      if (!inside.has(container) && within(container)) inside.add(container);
      return inside.has(container);
    });
    const out = [el("h3", "", "What was not seen there")];
    if (rule.missing.length) out.push(el("p", "", `Evidence that is missing: ${rule.missing.join(", ")}.`));
    if (!here.length) out.push(el("p", "none", "Nothing in this container, or in what it holds, is recorded as unread."));
    else {
      const list = el("ul");
      for (const [, , path, scope, reason, limit, text, entries] of here.slice(0, 20))
        list.append(el("li", "", el("span", "path", middle(path, 160)), ` ${scope}: ${reason}${limit ? ` (${limit})` : ""}${text ? `, ${text}` : ""}${entries > 1 ? `, ${number(entries)} entries` : ""}`));
      out.push(list);
      if (here.length > 20) out.push(el("p", "quiet", `and ${number(here.length - 20)} more`));
    }
    return out;
  }

  function close() {
    root.classList.remove("opened");
    history.replaceState(null, "", "#findings");
    $("list").focus();
  }

  // -- binaries ------------------------------------------------------------------------------------------------------

  const STATES = { y: ["yes", "yes"], p: ["partial", "part"], n: ["no", "no"], u: ["unknown", "?"] };
  const MEASURES = ["PIE", "NX", "RELRO", "canary", "FORTIFY"];
  function binaryRow([path, machine, role, states]) {
    const row = el("div", "brow", el("span", "path", middle(path, 110)));
    row.title = `${path} (${machine} ${role})`;
    [...states].forEach((state, at) => {
      const cell = el("span", "", el("i", `dot s-${STATES[state][0]}`), STATES[state][1]);
      cell.setAttribute("aria-label", `${MEASURES[at]} ${STATES[state][0]}`);
      row.append(cell);
    });
    return row;
  }

  // -- facts ---------------------------------------------------------------------------------------------------------

  // Wide columns for texts and places, narrow ones for words.
  const widths = (list) => {
    const usual = list.columns.map((name, at) => {
      const lengths = list.rows.slice(0, 400).map((row) => cell(row[at]).length).sort((a, b) => a - b);
      return Math.min(Math.max(name.length, lengths[Math.floor(lengths.length * 0.95)] || 0), 60);
    });
    const least = list.columns.length > 6 ? 0 : 3.2;
    return usual.map((n) => `minmax(${least}rem, ${Math.max(n, 4)}fr)`).join(" ");
  };
  const cell = (value) => (value === null || value === undefined ? "" : String(value));

  function showList(name) {
    const list = lists.find((one) => one.name === name) || listed || lists.find((one) => one.total) || lists[0];
    $("listchips").replaceChildren(...lists.map((one) => {
      const chip = el("button", "", one.title, " ", el("span", "n", one.total || one.looked ? number(one.total) : "–"));
      chip.type = "button";
      chip.setAttribute("aria-pressed", one === list);
      chip.onclick = () => { location.hash = `#facts?list=${one.name}`; };
      return chip;
    }));
    if (list !== listed) {
      listed = list;
      list.haystack ??= new Haystack(list.rows.map((row) => row.map(cell).join("\t").replaceAll("\n", " ")));
      list.widths ??= widths(list);
      $("fq").value = "";
      $("listtext").textContent = list.text + (list.total || list.looked ? "" : " Nobody looked for this.");
      $("fhead").style.gridTemplateColumns = list.widths;
      $("fhead").replaceChildren(...list.columns.map((title) => el("span", "", title)));
      searchFacts();
    }
    factList.paint();
  }

  function searchFacts() {
    const wanted = $("fq").value.toLowerCase().split(/\s+/).filter(Boolean).map((term) => listed.haystack.having(term));
    const found = listed.rows.filter((_, i) => wanted.every((texts) => texts[i]));
    factList.show(found);
    $("frow").replaceChildren();
    const beyond = listed.total > listed.rows.length ? `; the record has ${number(listed.total)}` : "";
    $("fcount").textContent = `${number(found.length)} of ${number(listed.rows.length)} ${listed.title.toLowerCase()}${beyond}`;
  }

  function factRow(row) {
    const line = el("div", "frow", ...row.map((value) => el("span", "", middle(cell(value), 120))));
    line.style.gridTemplateColumns = listed.widths;
    return line;
  }

  function factDetail(row) {
    $("frow").replaceChildren(pairs(listed.columns.map((name, at) => [name, cell(row[at]), "path"])));
  }

  // -- start ---------------------------------------------------------------------------------------------------------

  function keys(event) {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && !(typing && event.target.type !== "checkbox")) {
      event.preventDefault();
      if (view === "binaries") return $("bq").focus();
      if (view === "facts") return $("fq").focus();
      if (view !== "findings") { history.pushState(null, "", "#findings"); go(); }
      root.classList.add("filtering");
      $("q").focus();
      $("q").select();
    } else if (event.key === "Escape" && view === "findings") {
      close();
    } else if (view === "findings" && findingList) {
      if (event.target === $("q") && (event.key === "ArrowDown" || event.key === "Enter")) { event.preventDefault(); $("list").focus(); findingList.select(0); }
      else if (!typing && (event.key === "j" || event.key === "k")) {
        findingList.key(event);
        if (!matchMedia("(max-width: 1150px)").matches || root.classList.contains("opened")) detail(findingList.rows[findingList.at]);
      }
    }
  }

  function printable() {
    const most = 300;
    const items = shown.slice(0, most).map((i) => {
      const rule = rules[findings.rule[i]];
      return el("li", "", el("b", "", rule.severity), ` ${middle(findings.message[i], 400)} `, el("span", "path quiet", middle(findings.path[i], 300)), ` (${rule.name})`);
    });
    if (shown.length > most) items.push(el("li", "", `and ${number(shown.length - most)} more in the record`));
    $("printed").replaceChildren(...items);
  }

  async function start() {
    root.classList.add("js");
    const measure = () => root.style.setProperty("--top", `${document.querySelector(".top").offsetHeight}px`);
    measure();
    addEventListener("resize", measure);
    addEventListener("hashchange", go);
    addEventListener("keydown", keys);
    go();
    const data = await unpack("index");
    rules = data.rules;
    families = data.families;
    const columns = Object.fromEntries(COLUMNS.map((name, at) => [name, data.findings.map((chunk) => chunk[at]).flat(1)]));
    haystack = new Haystack(columns.message.map((message, i) => `${message}\t${columns.path[i]}`));
    findings = columns;
    findingList = new List($("list"), 62, findingRow, detail);
    $("list").addEventListener("keydown", (event) => {
      if (/^(j|k|Arrow(Up|Down)|Page(Up|Down)|Home|End)$/.test(event.key) && !matchMedia("(max-width: 1150px)").matches) detail(findingList.rows[findingList.at]);
    });
    binaryList = new List($("blist"), 34, binaryRow);
    lists = data.lists;
    factList = new List($("flist"), 34, factRow, factDetail);
    $("fq").oninput = searchFacts;
    const searchBinaries = () => {
      const text = $("bq").value.toLowerCase();
      const found = data.binaries.filter(([path, machine]) => path.toLowerCase().includes(text) || machine.toLowerCase().includes(text));
      binaryList.show(found);
      $("bcount").textContent = `${number(found.length)} of ${number(data.binaries.length)} executables and libraries`;
    };
    searchBinaries();
    $("bq").oninput = searchBinaries;
    $("q").oninput = $("prefix").oninput = $("sort").onchange = filter;
    $("clear").onclick = () => {
      for (const name in chosen) chosen[name].clear();
      onlyRule = null;
      $("q").value = $("prefix").value = "";
      facets();
      filter();
    };
    $("showfilters").onclick = () => $("showfilters").setAttribute("aria-expanded", root.classList.toggle("filtering"));
    document.querySelector(".filters").onsubmit = (event) => event.preventDefault();
    addEventListener("beforeprint", printable);
    facets();
    filter();
    go();
    root.dataset.readyMs = performance.now().toFixed(1);
  }
  start().catch((error) => { $("count").textContent = `This browser could not show the findings: ${error.message}`; });
})();
