// SPDX-License-Identifier: GPL-2.0
//
// The page: its sections, the slider and the keys.

"use strict";

const data = JSON.parse(document.getElementById("document").textContent);
const at = (id) => document.getElementById(id);
const REFUSALS_SHOWN = 100;
// The timeline of a larger pool has no map of pages.
const DRAWN_MAX = 256 << 20;

let runs = [], drawn = [], shown = 0, playing = 0;
const rows = () => runs[0].timeline.operations;
const unitOf = (clock) => (clock === "instructions" ? "instructions" : "ns");

function begin() {
	at("about").textContent = `Engines ran in ${data.target === "sim" ? "one process, without the kernel" : "Linux " + data.kernel}; ` +
		`pool for checks and times: ${bytes(data.pool_bytes)}.`;
	data.traces.forEach((trace, index) => at("trace").append(make("option", { value: index, textContent: trace.name })));
	at("trace").addEventListener("change", () => choose(Number(at("trace").value)));
	at("slider").addEventListener("input", () => show(Number(at("slider").value)));
	at("play").addEventListener("click", play);
	document.addEventListener("keydown", key);
	window.addEventListener("resize", relayout);
	matchMedia("(prefers-color-scheme: dark)").addEventListener("change", relayout);
	choose(0);
}

function choose(index) {
	const trace = data.traces[index];
	stop();
	runs = trace.engines.filter((result) => result.timeline).map((result) => new Run(result));
	at("source").textContent = `${count(trace.operations)} operations, ${bytes(trace.peak_bytes)} live at the peak. ${trace.source}`;
	table(trace);
	for (const id of ["maps", "curves", "insides", "times", "refused"]) at(id).replaceChildren();
	at("player").hidden = !runs.length;
	drawn = [];
	if (!runs.length) return;
	at("slider").max = rows().length - 1;
	legend();
	maps();
	curves();
	insides();
	times(trace);
	refused();
	for (const one of drawn) one.layout();
	// Begin at the live peak.
	const live = runs[0].timeline.live;
	show(live.reduce((best, value, frame) => (value > live[best] ? frame : best), 0));
}

function table(trace) {
	const head = ["engine", "smallest pool", "utilisation", "internal", "external", "p50", "p99", "max", "refused", "answers"];
	const cell = (tag, text, left, style = "") => make(tag, { textContent: text, className: (left ? "left " : "") + style });
	const body = trace.engines.map((result) => {
		const { space, times, failure } = result;
		const reserved = !space ? "–" : space.pool_bytes ? bytes(space.pool_bytes) : `(${bytes(space.reserved_bytes)})`;
		const no = Object.entries(result.refused).map(([cause, number]) => `${count(number)} ${cause}`);
		if (result.left_out) no.push(`${count(result.left_out)} left out`);
		const time = (what) => (times ? count(times[what]) : "–");
		const row = make("tr", {}, make("td", { className: "left" }, dot(tint(result.engine)), result.engine));
		const figures = [reserved, percent(space?.utilisation), percent(space?.internal), percent(space?.external),
			time("p50"), time("p99"), time("max"), no.join(", ") || "–"];
		row.append(...figures.map((text) => cell("td", text)), failure ? cell("td", "WRONG", false, "bad") : cell("td", "right", false, "good"));
		return row;
	});
	at("engines").replaceChildren(make("tr", {}, ...head.map((text, index) => cell("th", text, index === 0))), ...body);
	const timed = trace.engines.find((result) => result.times)?.times;
	at("table-note").textContent = "The smallest pool is the smallest one in which no request of the trace is refused (in brackets: " +
		"the bytes of all blocks of an engine without a pool). Utilisation is the live peak divided by the smallest pool. The rest is internal " +
		"fragmentation (blocks are larger than requested) or external fragmentation (cached or free memory)." +
		(timed ? ` p50, p99 and max are ${unitOf(timed.clock)} per operation, including zeroing.` : "");
	const peers = trace.engines.filter((result) => result.peer);
	at("table-note").append(...peers.map(({ engine, peer }) => make("p", { textContent:
		`The peer ${engine} is ${peer.package} ${peer.version}, ${peer.description}. It has ${bytes(peer.metadata_bytes)} of metadata outside of the pool.` +
		(peer.align_max ? ` The largest alignment is ${bytes(peer.align_max)}.` : "") + (peer.cannot ? ` It cannot ${peer.cannot}.` : "") })));
	if (peers.length) at("table-note").append(make("p", { textContent: "Peers have no CHECK, no MAP, no magazines and no statistics by size class, " +
		"and do not say why they refuse a request: every refusal counts as exhausted, or as too big if the request is larger than the pool. " +
		"A dash stands for a figure that a peer does not report." }));
	const wrong = trace.engines.filter((result) => result.failure);
	at("table-note").append(...wrong.map(({ engine, failure }) => make("p", { className: "bad",
		textContent: `${engine}, operation ${count(failure.operation)} (${failure.what}): ${failure.violation}` })));
}

function legend() {
	const key = (style, ...text) => {
		const swatch = make("span", { className: "swatch" });
		Object.assign(swatch.style, style);
		return make("span", { className: "key" }, ...text.slice(1), swatch, text[0]);
	};
	const stops = [3, 5, 7, 9, 10.5, 12].map((log2) => `hsl(${hue(2 ** log2)} 62% 50%)`);
	const ramp = key({ background: `linear-gradient(90deg, ${stops})` }, "4 KiB", "slab, by object size: 8 B");
	ramp.querySelector(".swatch").classList.add("ramp");
	const strength = key({ background: `linear-gradient(90deg, hsl(${hue(128)} 62% 50% / .2), hsl(${hue(128)} 62% 50%))` }, "all", "live objects: none");
	strength.querySelector(".swatch").classList.add("ramp");
	const kinds = new Set(runs.flatMap((run) => (run.timeline.map_deltas ? run.timeline.map_deltas.states : []).map(({ kind }) => kind)));
	const plain = [["large", kinds.has("mixed") ? "pages of one block" : "block of whole pages"], ["free", "free pages"]];
	// Three squares: a quarter, a half, and all of the page.
	const part = (share) => make("span", { className: "swatch", style:
		`background: linear-gradient(0deg, var(--mixed) ${share}%, var(--free) ${share}%); outline: 1px solid var(--rule)` });
	const mixed = make("span", { className: "key" }, part(25), part(50), part(100), "mixed page, filled by its used part");
	at("legend").replaceChildren(...(kinds.has("slab") ? [ramp, strength] : []), ...(kinds.has("mixed") ? [mixed] : []),
		...plain.filter(([kind]) => kinds.has(kind)).map(([kind, text]) => key({ background: `var(--${kind})`, outline: "1px solid var(--rule)" }, text)),
		key({ border: "2px solid var(--mark)" }, "block of the last operation"));
}

// Adds a grid for cards, with rows of equal length.
function cards(id) {
	const grid = make("div", { className: "cards" });
	at(id).append(grid);
	drawn.push({ layout: () => balance(grid), show() {} });
	return grid;
}

// The minimum width of a card, and the gap between two cards, in pixels.
const CARD = 380, GAP = 18;

// Distributes cards evenly over rows. A card that is alone in the last row fills the row.
function balance(grid) {
	const number = grid.children.length, most = Math.max(1, Math.floor((grid.clientWidth + GAP) / (CARD + GAP)));
	const columns = Math.max(1, Math.ceil(number / Math.ceil(number / most)));
	grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
	if (number) grid.lastChild.style.gridColumn = columns > 1 && number % columns === 1 ? "1 / -1" : "";
}

const title = (engine, text = "") => make("h3", {}, dot(tint(engine)), engine + text);

function maps() {
	const grid = cards("maps");
	for (const run of runs) {
		const figures = make("p", { className: "figures", id: "figures-" + run.name });
		const card = make("div", {}, title(run.name, run.timeline.pool_bytes ? `, ${bytes(run.timeline.pool_bytes)}` : ""), figures);
		grid.append(card);
		if (run.pages) {
			const map = new PageMap(run);
			card.append(map.canvas, map.pointed);
			if (run.peer) card.append(make("p", { className: "note", textContent: "Drawn from the live blocks, because a peer has no MAP. All other memory looks free." }));
			drawn.push(map);
		} else {
			const why = !run.timeline.pool_bytes ? "This engine has no pool, so there is no map."
				: run.timeline.pool_bytes > DRAWN_MAX ? "The pool is too large for a map."
				: run.name === "seed" ? "The seed does not support MAP, and the offsets of its blocks differ from those of the model that draws the map."
				: `This ${run.peer ? "peer" : "engine"} has no MAP.`;
			card.append(make("p", { className: "note", textContent: why }));
		}
		drawn.push({ layout() {}, show: (frame) => { figures.textContent = usage(run, frame); } });
	}
}

function usage(run, frame) {
	const { live, usable, reserved, pool_bytes: pool } = run.timeline;
	if (run.peer) return `${bytes(live[frame])} live + ${bytes(pool - live[frame])} not live`;
	const parts = [`${bytes(live[frame])} live`, `${bytes(usable[frame] - live[frame])} internal`];
	if (pool) parts.push(`${bytes(reserved[frame] - usable[frame])} cached`, `${bytes(pool - reserved[frame])} free`);
	return parts.join(" + ");
}

function curves() {
	const grid = cards("curves"), operations = rows();
	const most = runs.reduce((one, other) => (one.timeline.live.at(-1) >= other.timeline.live.at(-1) ? one : other));
	const { live, live_min: low, live_max: high } = most.timeline;
	const frames = operations.map((_, frame) => frame);
	const marks = runs.flatMap((run, row) => run.timeline.refusals.map(({ frame }) => ({ style: tint(run.name), row, at: frame })));
	const each = (of) => runs.map((run) => ({ name: run.name, style: tint(run.name), values: frames.map((frame) => of(run, frame)) }))
		.filter(({ values }) => values.some((value) => value !== null));
	const pick = (frame) => { stop(); show(frame); };
	const all = [
		{ title: "Bytes", unit: bytes, marks,
			series: [{ name: "live", style: "live", values: live, low, high },
				...runs.map((run) => ({ name: run.name, style: tint(run.name), values: run.timeline.reserved }))],
			note: "Live: the requested bytes (the band is their range between two moments). Engines: the bytes that are not free in the pool, or the size of all blocks of an engine without a pool." +
				(runs.some((run) => run.peer) ? " Peers: the bytes of their live blocks, because a peer does not report free bytes." : "") +
				(marks.length ? " A tick at the top marks a refused request of that engine." : "") },
		{ title: "Internal fragmentation", unit: percent, series: each((run, frame) => run.inside(frame)),
			note: "The share of the reserved bytes by which blocks are larger than requested." },
		{ title: "Cached memory", unit: percent, series: each((run, frame) => run.outside(frame)),
			note: "The share of the reserved bytes outside live blocks: free objects of slabs, and blocks in magazines." },
		{ title: "External fragmentation", unit: percent, most: 1, series: each((run, frame) => run.scattered(frame)),
			note: "The share of the free bytes outside the largest free block." },
	];
	for (const one of all.filter(({ series }) => series.length)) {
		const chart = new Curves({ ...one, operations, pick });
		grid.append(chart.element);
		drawn.push(chart);
	}
}

// The maximum value of any key over all moments.
const mostOf = (changes, value) => Math.max(1, ...changes.keys().flatMap((key) =>
	changes.byKey.get(key).values.map((values) => value(key, values))));

function insides() {
	const grid = cards("insides");
	const add = (run, text, note, entries, most) => {
		const canvas = make("canvas");
		canvas.setAttribute("role", "img");
		canvas.setAttribute("aria-label", `${run.name}${text}`);
		grid.append(make("div", {}, title(run.name, text), canvas, make("p", { className: "note", textContent: note })));
		drawn.push({ layout() {}, show: (frame) => bars(canvas, { entries: entries(frame), most, style: tint(run.name), unit: bytes }) });
	};
	for (const run of runs.filter((run) => run.timeline.pool_bytes)) {
		const size = run.timeline.class_bytes;
		if (run.classes.keys().length) add(run, ": classes", "Bytes of each size class: live (full colour), in magazines (paler)" + (run.hasRuns ? "." : ", free in slabs (palest)."),
			(frame) => size.map((bytesEach, index) => {
				const [used, total, inMagazines] = run.classes.at(index, frame) || [0, 0, 0];
				return { label: bytes(bytesEach), parts: [{ value: used * bytesEach, alpha: 1 },
					{ value: inMagazines * bytesEach, alpha: 0.55 }, { value: Math.max(0, total - used - inMagazines) * bytesEach, alpha: 0.25 }] };
			}), mostOf(run.classes, (index, [, total]) => total * size[index]));
		if (!run.hasOrders) continue;
		const orders = run.orders.keys(), most = mostOf(run.orders, (order, [free]) => free * 4096 * 2 ** order);
		const blocks = (frame) => orders.map((order) => ({ label: bytes(4096 * 2 ** order),
			parts: [{ value: (run.orders.at(order, frame) || [0])[0] * 4096 * 2 ** order, alpha: 0.7 }] }));
		if (!run.hasRuns) add(run, ": free blocks", "Bytes in free blocks of the buddy system, by block size.", blocks, most);
		else add(run, ": free runs", "Bytes in free runs, by length; lengths from a page on are rounded down to a power of two.",
			(frame) => [{ label: "< 4 KiB", parts: [{ value: run.timeline.short_free[frame], alpha: 0.7 }] }, ...blocks(frame)],
			run.timeline.short_free.reduce((one, other) => Math.max(one, other), most));
	}
	const silent = runs.filter((run) => !run.timeline.pool_bytes || !(run.classes.keys().length || run.hasOrders));
	if (silent.length) at("insides").append(make("p", { className: "note",
		textContent: `${silent.map(({ name }) => name).join(", ")}: size classes and free blocks are not reported.` }));
}

function times(trace) {
	const timed = trace.engines.filter((result) => result.times?.histogram?.length);
	if (!timed.length) {
		at("times").append(make("p", { className: "note", textContent: "No times were measured." }));
		return;
	}
	const unit = unitOf(timed[0].times.clock), steps = [...new Set(timed.flatMap(({ times }) => times.histogram.map(([from]) => from)))];
	const place = (value) => (value < 4 ? value : 4 * Math.floor(Math.log2(value)) + Math.floor(value / 2 ** (Math.floor(Math.log2(value)) - 2)) - 8);
	const back = (index) => (index < 4 ? index : (4 + (index % 4)) * 2 ** (Math.floor(index / 4) - 1));
	const low = place(Math.min(...steps)), high = place(Math.max(...steps));
	const least = 0.5 / Math.max(...timed.map(({ times }) => times.operations));
	const grid = cards("times");
	for (const { engine, times } of timed) {
		const shares = new Map(times.histogram.map(([from, number]) => [place(from), number / times.operations]));
		const entries = [];
		for (let index = low; index <= high; index++) entries.push({ label: count(back(index)), parts: [{ value: shares.get(index) || 0, alpha: 0.85 }] });
		const canvas = make("canvas");
		canvas.setAttribute("role", "img");
		canvas.setAttribute("aria-label", `Times of ${engine}`);
		grid.append(make("div", {}, title(engine, `: p50 ${count(times.p50)}, p99 ${count(times.p99)}, max ${count(times.max)} ${unit}`), canvas));
		drawn.push({ layout: () => bars(canvas, { entries, least, most: 1, style: tint(engine), unit: percentOfAny }), show() {} });
	}
	at("times").append(make("p", { className: "note", textContent: `Share of operations (logarithmic) by ${unit}, in four steps per doubling. ` +
		`The time of a call that does nothing (${count(timed[0].times.empty_call)} ${unit}) is subtracted.` }));
}

function refused() {
	const all = runs.flatMap((run) => run.timeline.refusals.map((entry) => ({ run, ...entry }))).sort((a, b) => a.first - b.first);
	if (!all.length) {
		at("refused").append(make("p", { className: "note", textContent: "No request was refused in these pools." }));
		return;
	}
	const totals = new Map();
	for (const { run, cause, count: number } of all) {
		const name = `${run.name}: ${cause}`;
		totals.set(name, (totals.get(name) || 0) + number);
	}
	const head = make("tr", {}, ...["engine", "from operation", "requests", "cause", "size of the first request"].map((text) => make("th", { textContent: text })));
	const list = all.slice(0, REFUSALS_SHOWN).map(({ run, frame, cause, count: number, first, bytes: wanted }) => {
		const go = make("button", { textContent: count(first) });
		go.addEventListener("click", () => { stop(); show(frame); });
		return make("tr", {}, make("td", { className: "left" }, dot(tint(run.name)), run.name), make("td", {}, go),
			...[count(number), cause, bytes(wanted)].map((textContent) => make("td", { textContent })));
	});
	at("refused").append(make("p", { textContent: [...totals].map(([name, number]) => `${name} ${count(number)}`).join(" · ") }),
		make("div", { className: "scroll tall" }, make("table", {}, head, ...list)));
	if (all.length > list.length) at("refused").append(make("p", { className: "note", textContent: `${count(all.length - list.length)} further rows are not shown.` }));
}

// Shows a moment.
function show(frame) {
	shown = Math.max(0, Math.min(rows().length - 1, frame));
	const done = rows()[shown], total = rows().at(-1);
	at("slider").value = shown;
	at("slider").setAttribute("aria-valuetext", `${count(done)} of ${count(total)} operations`);
	at("moment").textContent = `${count(done)} of ${count(total)} operations done.`;
	at("step").replaceChildren(...(done ? steps() : []));
	for (const one of drawn) one.show(shown);
}

// Paths whose names need other words.
const PATHS = { none: "done", other: "done by another path", "in place": "done in place" };

// Describes the last operation and its result on each engine.
function steps() {
	const last = runs.map((run) => run.timeline.last[shown]), step = last[0];
	const of = step.what === "reallocate" ? "a block to " : step.what === "free" ? "a block of " : "";
	return [`Last operation: ${step.what} ${of}${bytes(step.bytes)}. `, ...runs.flatMap((run, index) => {
		const how = last[index].done && run.peer ? "done" : last[index].done ? PATHS[last[index].how] || `by ${last[index].how}` : last[index].how === "left out" ? "left out" : `refused, ${last[index].how}`;
		return [dot(tint(run.name)), make("span", { className: last[index].done ? "" : "bad", textContent: `${run.name}: ${how}   ` })];
	})];
}

function relayout() {
	for (const one of drawn) one.layout();
	if (runs.length) show(shown);
}

function stop() {
	clearInterval(playing);
	playing = 0;
	at("play").textContent = "▶";
}

// Plays the whole timeline in about 20 seconds.
function play() {
	if (playing) return stop();
	if (shown === rows().length - 1) show(0);
	at("play").textContent = "❚❚";
	playing = setInterval(() => (shown === rows().length - 1 ? stop() : show(shown + 1)), Math.max(33, 20000 / rows().length));
}

function key(event) {
	if (event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "SELECT" || !runs.length) return;
	const step = event.shiftKey ? 10 : 1;
	const moves = { ArrowLeft: shown - step, ArrowRight: shown + step, PageDown: shown - 10, PageUp: shown + 10, Home: 0, End: rows().length - 1 };
	const paging = event.key.startsWith("Page") && event.target !== at("slider");
	if (event.key in moves && !paging) {
		stop();
		show(moves[event.key]);
	} else if (event.key === " " && event.target.tagName !== "BUTTON") {
		play();
	} else {
		return;
	}
	event.preventDefault();
}

begin();
