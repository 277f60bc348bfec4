// The pure parts of the page's modules, without a browser: node --test.

import assert from "node:assert/strict";
import test from "node:test";
import { bytes, count, counted, duration, more, rate, share } from "../../tracer/src/output/html/format.js";
import { cumulated, grewIn, inRange, momentsOf } from "../../tracer/src/output/html/course.js";
import { addressOf, stateOf, VIEWS } from "../../tracer/src/output/html/address.js";
import { heldBy, linesOf, sitesOf, sureOf, threadsOf, valueOf } from "../../tracer/src/output/html/model.js";
import { momentAt, partsOf, total } from "../../tracer/src/output/html/parts.js";
import { around, searched, shownFrames, treeOf } from "../../tracer/src/output/html/stacks.js";

const [APPLICATION, JDK, JVM, NATIVE, MISSING, ENTRY] = [0, 1, 2, 3, 5, 6];
const LOOK = { measure: "live", category: "", filter: null, jvm: false, jdk: false, held: null, moments: null };

/** A report of stacks, root first, of [name, kind] each, with what each holds. */
function report(stacks, facts = {}) {
  const strings = [""];
  const text = (it) => (strings.includes(it) ? strings.indexOf(it) : strings.push(it) - 1);
  const frames = [];
  const [parent, nodeFrame, leaves] = [[], [], []];
  for (const { stack } of stacks) {
    let above = -1;
    for (const [name, kind, module = "lib"] of stack) {
      const key = JSON.stringify([name, kind, module]);
      let frame = frames.findIndex((it) => it.key === key);
      if (frame < 0) frame = frames.push({ key, name, kind, module }) - 1;
      let node = nodeFrame.findIndex((it, at) => it === frame && parent[at] === above);
      if (node < 0) [node] = [nodeFrame.push(frame) - 1, parent.push(above)];
      above = node;
    }
    leaves.push(above);
  }
  const column = (of) => Float64Array.from(stacks, of);
  const columns = {
    frame_function: Int32Array.from(frames, (it) => text(it.name)), frame_line: new Int32Array(frames.length),
    frame_kind: Int32Array.from(frames, (it) => it.kind), frame_module: Int32Array.from(frames, (it) => text(it.module)),
    site_leaf: Int32Array.from(leaves), site_category: Int32Array.from(stacks, (it) => text(it.category ?? "zlib")),
    site_line: Int32Array.from(stacks, (it) => it.line ?? -1), site_course: Int32Array.from(stacks, (it) => it.course ?? -1),
    site_live_bytes: column((it) => it.live), site_live_count: column(() => 1), site_allocated_bytes: column((it) => it.allocated ?? it.live),
    site_peak_bytes: column((it) => it.live), base_live_bytes: column((it) => it.base ?? 0),
  };
  return { facts, strings, columns, parent: Int32Array.from(parent), nodeFrame: Int32Array.from(nodeFrame), siteCount: stacks.length, live: new Float64Array(), allocated: new Float64Array(), shown: [[], [], [], []], held: new Map() };
}

const names = (of, site, look) => shownFrames(of, site, look).map((frame) => of.strings[of.columns.frame_function[frame]]);

test("numbers as people read them", () => {
  assert.deepEqual([0, 1023, 1024, 1536, 1024 ** 2 - 1, -2048].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "-2.0 KiB"]);
  assert.equal(more(10), "+10 B");
  assert.equal(count(1234567), "1,234,567");
  assert.deepEqual([counted(1, "frame"), counted(2, "frame")], ["1 frame", "2 frames"]);
  assert.deepEqual([rate(NaN), rate(2048)], ["not known", "+2.0 KiB/s"]);
  assert.deepEqual([9.96e9, 200e9, 7500e9].map(duration), ["10.0 s", "3 min 20 s", "2 h 5 min"]);
  assert.deepEqual([share(999_999, 1_000_000), share(1, 1), share(1, 0)], ["99.9 %", "100 %", "0 %"]);
});

test("frames that hide the code are left out", () => {
  const own = [["clone3", ENTRY], ["JavaMain", JVM], ["A.run", APPLICATION], ["Method.invoke", JDK], ["B.open", APPLICATION], ["GZIP.<init>", JDK], ["Inflater.init", JDK], ["inflateInit2_", NATIVE], ["[unknown: no symbol]", MISSING]];
  const of = report([{ stack: own, live: 1 }, { stack: [["clone3", ENTRY], ["Compile::loop", JVM]], live: 1 }, { stack: [["[incomplete: no row]", MISSING, ""], ["Gc::work", JVM]], live: 1 }]);
  assert.deepEqual(names(of, 0, LOOK), ["A.run", "B.open", "GZIP.<init>", "inflateInit2_"]);
  assert.deepEqual(names(of, 0, { ...LOOK, jdk: true }), ["A.run", "Method.invoke", "B.open", "GZIP.<init>", "Inflater.init", "inflateInit2_"]);
  assert.equal(names(of, 0, { ...LOOK, jvm: true, jdk: true }).length, 8);
  assert.deepEqual(names(of, 1, LOOK), ["Compile::loop"]);
  assert.deepEqual(names(of, 2, LOOK), ["[incomplete: no row]", "Gc::work"]);
});

test("recursion is there once, and stacks of 1,024 frames are walked", () => {
  const circle = Array.from({ length: 25 }, () => [["proceed", APPLICATION], ["intercept", APPLICATION]]).flat();
  const deep = Array.from({ length: 1024 }, (_, at) => [`f${at}`, APPLICATION]);
  const of = report([{ stack: [["run", APPLICATION], ...circle, ["open", APPLICATION]], live: 1 }, { stack: deep, live: 2 }]);
  assert.deepEqual(names(of, 0, LOOK), ["run", "proceed", "intercept", "open"]);
  const tree = treeOf(of, [0, 1], LOOK, false);
  assert.equal(tree.depth, 1025);
  let node = tree;
  while (node.children.length) node = node.children[0];
  assert.deepEqual([node.name, node.own], ["f1023", 2]);
});

test("a tree has the sums of its stacks, either way round", () => {
  const of = report([{ stack: [["main", APPLICATION], ["a", APPLICATION]], live: 5 }, { stack: [["main", APPLICATION], ["b", APPLICATION]], live: 7 }, { stack: [["main", APPLICATION]], live: 2 }]);
  const sites = sitesOf(of, LOOK);
  assert.deepEqual(sites, [1, 0, 2]);
  const tree = treeOf(of, sites, LOOK, false);
  assert.deepEqual([tree.value, tree.children[0].own, tree.children[0].children.map((it) => it.name)], [14, 2, ["b", "a"]]);
  assert.deepEqual(treeOf(of, sites, LOOK, true).children.map((it) => [it.name, it.value]), [["b", 7], ["a", 5], ["main", 2]]);
  const hit = searched(tree, /^b$/);
  assert.deepEqual([hit.frames, hit.value, hit.found[0].name], [1, 7, "b"]);
  assert.deepEqual(sitesOf(of, { ...LOOK, filter: /^a$/ }), [0]);
});

test("a range has what came in it", () => {
  assert.deepEqual([...cumulated([1, 2, -1, 5, 5, 0], 3)], [1, 3, 2, 5, 10, 10]);
  const times = [0, 10, 20];
  assert.equal(momentsOf(times, null), null);
  assert.deepEqual(momentsOf(times, { from: 4, to: 25 }), { from: 0, to: 2 });
  assert.deepEqual(momentsOf(times, { from: 20, to: 20 }), { from: 1, to: 2 });
  const of = { ...report([{ stack: [["a", APPLICATION]], live: 4, course: 0 }, { stack: [["b", APPLICATION]], live: 9 }], { times_ns: times }), live: Float64Array.of(0, 6, 4), allocated: Float64Array.of(0, 6, 10) };
  const [first, last] = [{ from: 0, to: 1 }, { from: 1, to: 2 }];
  const value = (measure, moments) => valueOf(of, { ...LOOK, measure, moments }, 0);
  assert.deepEqual(["live", "allocated", "temporary", "peak"].map((it) => value(it, first)), [6, 6, 0, 6]);
  assert.deepEqual(["live", "allocated", "temporary", "peak"].map((it) => value(it, last)), [0, 4, 6, 6]);
  assert.equal(inRange(of, "live", 1, first), 0);
  assert.deepEqual([grewIn([1, 4, 2], last), grewIn(null, last)], [-2, NaN]);
});

test("what differs is told by each measure", () => {
  const of = report([{ stack: [["a", APPLICATION]], live: 9, base: 4 }, { stack: [["b", APPLICATION]], live: 0, base: 7 }]);
  const value = (measure) => [0, 1].map((site) => valueOf(of, { ...LOOK, measure }, site));
  assert.deepEqual(["either", "grew", "shrank", "live", "base"].map(value), [[9, 7], [5, 0], [0, 7], [9, 0], [4, 7]]);
  const tree = treeOf(of, [0, 1], { ...LOOK, measure: "either" }, false);
  assert.deepEqual([tree.value, tree.change], [16, -2]);
});

test("findings come before other lines, each with its own call paths", () => {
  const row = (name) => ({ name, what: "zlib", live_bytes: 1, resident_bytes: 1, growth_bytes_per_s: 1, verdict: { kind: "steady" }, threads: [] });
  const finding = { name: "B.b:2", what: "zlib", by_line: [1], live_bytes: 7, live_count: 1, mapped_bytes: 0, growth_bytes_per_s: 3, verdict: { kind: "leak", proof: "course" } };
  const of = report([{ stack: [["a", APPLICATION]], live: 5, line: 0 }, { stack: [["b", APPLICATION]], live: 7, line: 1 }], { by_line: [row("A.a:1"), row("B.b:2")], findings: [finding] });
  assert.deepEqual(linesOf(of, [1, 0], LOOK, true).map((it) => [it.name, it.live, it.isFinding, it.sites]), [["B.b:2", 7, true, [1]], ["A.a:1", 5, false, [0]]]);
  assert.deepEqual([sureOf("leak", ""), sureOf("gc-pending", "none"), sureOf("pool", ""), sureOf("too-short", "")], ["leak", "unproven", "ok", "seen too short"]);
});

test("what is above a line and below it", () => {
  const of = report([
    { stack: [["main", APPLICATION], ["serve", APPLICATION], ["open", APPLICATION], ["init", JDK]], live: 5 },
    { stack: [["main", APPLICATION], ["retry", APPLICATION], ["open", APPLICATION], ["read", JDK]], live: 3 },
    { stack: [["loop", NATIVE]], live: 2 },
  ]);
  const frame = (name) => of.columns.frame_function.findIndex((it) => of.strings[it] === name);
  of.columns.site_owner = Int32Array.of(frame("open"), frame("open"), -1);
  const { callers, callees } = around(of, [0, 1, 2], LOOK);
  assert.deepEqual(callers.children.map((it) => [it.name, it.value, it.children[0].name]), [["serve", 5, "main"], ["retry", 3, "main"]]);
  assert.deepEqual(callees.children.map((it) => [it.name, it.value]), [["open", 8], ["loop", 2]]);
  assert.deepEqual(callees.children[0].children.map((it) => it.name), ["init", "read"]);
});

test("threads have their part", () => {
  const of = report([{ stack: [["a", APPLICATION]], live: 9, line: 0 }, { stack: [["b", APPLICATION]], live: 4, line: 0 }], { by_line: [{ name: "A.a:1", what: "zlib", resident_bytes: 1, threads: [], sizes: [[8, 13, 2]] }], findings: [] });
  const [worker, timer] = [of.strings.push("worker-#") - 1, of.strings.push("timer") - 1];
  Object.assign(of.columns, { held_site: Int32Array.of(0, 0, 1), held_thread: Int32Array.of(worker, timer, timer), held_bytes: Float64Array.of(3, 6, 4) });
  assert.deepEqual(threadsOf(of), ["timer", "worker-#"]);
  assert.equal(heldBy(of, ""), null);
  const look = { ...LOOK, held: heldBy(of, "worker-#") };
  assert.deepEqual(sitesOf(of, look), [0]);
  const [line] = linesOf(of, sitesOf(of, look), look, false);
  assert.deepEqual([line.live, line.count, line.resident, line.sizes], [3, NaN, null, null]);
  assert.deepEqual(linesOf(of, [0, 1], LOOK, true)[0].sizes, [[8, 13, 2]]);
});

test("an address says all that is looked at, and what it does not say is as usual", () => {
  const measures = ["live", "peak"];
  const usual = stateOf("", measures);
  assert.equal(addressOf(usual, "live"), "");
  const state = { ...usual, view: "inverted", measure: "peak", category: "zlib", thread: "a b-#", filter: "^x+&y=", jvm: true, all: true, range: { from: 1e9, to: 2.5e9 }, zoom: ["A.b:1", "a&zoom=b"] };
  assert.deepEqual(stateOf(addressOf(state, "live"), measures), state);
  for (const wrong of ["view=nothing&of=nothing", "range=5-1", "range=1-", "range=-1--2", "range=1e9-2e9", "%", "view", "zoom"]) {
    const { view, measure, range } = stateOf(wrong, measures);
    assert.deepEqual([view, measure, range], [VIEWS[0], "live", null], wrong);
  }
});

test("parts beyond the largest are one, and sums stay", () => {
  const moment = (time_ns, ...sizes) => ({ time_ns, resident_bytes: Object.fromEntries(sizes.map((size, at) => [`p${at}`, size])) });
  const facts = { memory: { parts: [{ id: "p1", name: "second" }], series: [moment(0, 1, 2, 3), moment(10, 4, 9, 1), { time_ns: 11, resident_bytes: {} }] } };
  const { parts, moments } = partsOf(facts, 2);
  assert.deepEqual(parts.map((part) => [part.name, part.last]), [["second", 9], ["all else", 5]]);
  assert.deepEqual(moments.map((it) => [total(it), parts.reduce((sum, part) => sum + part.of(it), 0)]), [[6, 6], [14, 14]]);
  assert.deepEqual([momentAt(moments, 4), momentAt(moments, 6)], moments);
  assert.equal(partsOf(facts).parts.length, 3);
});
