// SPDX-License-Identifier: GPL-2.0
//
// Drawing: colours, curves, bars, and maps of pages.

"use strict";

const root = document.documentElement;
const colour = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
const FONT = "12px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";

// Hues of engines that page.css does not know.
const HUES = [285, 340, 185, 60, 250, 100];
let strangers = 0;

// Returns the variable of the style that has an engine's colour, and makes one where there is none.
function tint(engine) {
	const name = "engine-" + engine.replace(/[^\w-]/g, "_");
	if (!colour(name)) {
		root.style.setProperty("--" + name, `hsl(${HUES[strangers++ % HUES.length]} 60% var(--stranger))`);
	}
	return name;
}

// Numbers in the format of slablab's tables.
const count = (number) => Math.round(number).toLocaleString("en-US");
const percent = (share) => (share === null || share === undefined ? "–" : (100 * share).toFixed(1) + " %");
const percentOfAny = (share) => Number((100 * share).toPrecision(2)) + " %";
function bytes(number) {
	if (number < 1024) return number + " B";
	const unit = Math.min(4, Math.floor(Math.log2(number) / 10)), scaled = number / 1024 ** unit;
	return scaled.toFixed(Number.isInteger(scaled) ? 0 : scaled < 10 ? 2 : 1) + " " + ["", "KiB", "MiB", "GiB", "TiB"][unit];
}

// Makes an element. Its strings become text, never markup.
function make(tag, properties = {}, ...children) {
	const element = Object.assign(document.createElement(tag), properties);
	element.append(...children);
	return element;
}

const dot = (style) => {
	const mark = make("span", { className: "dot" });
	mark.style.background = `var(--${style})`;
	return mark;
};

// Sizes a canvas to its element, and returns a context in CSS pixels.
function pen(canvas, height) {
	const width = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
	canvas.style.height = height + "px";
	canvas.width = Math.max(1, Math.round(width * ratio));
	canvas.height = Math.max(1, Math.round(height * ratio));
	const context = canvas.getContext("2d");
	context.scale(ratio, ratio);
	context.font = FONT;
	return { context, width, height };
}

// Returns round numbers from 0 to about `most`; of bytes, round in powers of two.
function ticks(most, wanted, binary) {
	const raw = most / wanted || 1;
	const base = 10 ** Math.floor(Math.log10(raw));
	const step = binary ? 2 ** Math.ceil(Math.log2(raw)) : base * [1, 2, 5, 10].find((factor) => base * factor >= raw);
	const list = [];
	for (let value = 0; value <= most * 1.0001; value += step) list.push(value);
	return list;
}

// Curves over the operations. The curves are drawn once; the cursor is drawn on top of a copy.
class Curves {
	// series: { name, style, values, low?, high? }; marks, in rows: { style, row, at }. A style is a colour's name.
	constructor({ title, note, operations, series, marks = [], unit, most, pick }) {
		Object.assign(this, { operations, series, marks, unit });
		const values = series.flatMap(({ values, high }) => (high || values).filter((value) => value !== null));
		this.most = (most || values.reduce((one, other) => Math.max(one, other), 0)) || 1;
		this.canvas = make("canvas", { className: "pick" });
		this.canvas.setAttribute("role", "img");
		this.canvas.setAttribute("aria-label", `${title}, as curves over the operations`);
		this.figures = make("p", { className: "figures" });
		this.element = make("div", {}, make("h3", { textContent: title }), this.canvas, this.figures,
			make("p", { className: "note", textContent: note }));
		const picked = (event) => {
			const box = this.canvas.getBoundingClientRect();
			const share = (event.clientX - box.left - this.left) / (box.width - this.left - this.right);
			const wanted = Math.max(0, Math.min(1, share)) * operations[operations.length - 1];
			pick(upTo(operations, wanted) - 1);
		};
		this.canvas.addEventListener("pointerdown", picked);
		this.canvas.addEventListener("pointermove", (event) => event.buttons && picked(event));
	}

	x(frame) {
		const last = this.operations[this.operations.length - 1];
		return this.left + (this.operations[frame] / last) * (this.width - this.left - this.right);
	}

	y(value) { return this.height - 20 - (Math.min(value, this.most) / this.most) * (this.height - 42); }

	layout() {
		const { context, width, height } = pen(this.canvas, 170);
		Object.assign(this, { context, width, height, left: 62, right: 8 });
		context.textBaseline = "middle";
		const binary = this.unit === bytes;
		for (const value of ticks(this.most, 4, binary)) {
			context.fillStyle = colour("rule");
			context.fillRect(this.left, this.y(value), width - this.left - this.right, 1);
			context.fillStyle = colour("soft");
			context.textAlign = "right";
			context.fillText(this.unit === percent ? Math.round(value * 100) + " %" : this.unit(value), this.left - 6, this.y(value));
		}
		const last = this.operations[this.operations.length - 1];
		for (const [text, align, at] of [["0", "left", this.left], [count(last) + " operations", "right", width - this.right]]) {
			context.textAlign = align;
			context.fillText(text, at, height - 8);
		}
		for (const { style, values, low, high } of this.series) {
			if (low) this.band(colour(style), low, high);
			this.line(colour(style), values);
		}
		for (const { style, row, at } of this.marks) {
			context.fillStyle = colour(style);
			context.fillRect(this.x(at) - 1, row * 6, 2, 5);
		}
		this.still = document.createElement("canvas");
		this.still.width = this.canvas.width;
		this.still.height = this.canvas.height;
		this.still.getContext("2d").drawImage(this.canvas, 0, 0);
	}

	line(stroke, values) {
		const { context } = this;
		context.strokeStyle = stroke;
		context.lineWidth = 1.6;
		context.beginPath();
		let down = false;
		values.forEach((value, frame) => {
			if (value === null) down = false;
			else if (down) context.lineTo(this.x(frame), this.y(value));
			else { context.moveTo(this.x(frame), this.y(value)); down = true; }
		});
		context.stroke();
	}

	band(fill, low, high) {
		const { context } = this;
		context.fillStyle = fill;
		context.globalAlpha = 0.3;
		context.beginPath();
		high.forEach((value, frame) => context.lineTo(this.x(frame), this.y(value)));
		for (let frame = low.length - 1; frame >= 0; frame--) context.lineTo(this.x(frame), this.y(low[frame]));
		context.fill();
		context.globalAlpha = 1;
	}

	show(frame) {
		const { context } = this;
		context.clearRect(0, 0, this.width, this.height);
		context.drawImage(this.still, 0, 0, this.width, this.height);
		context.fillStyle = colour("mark");
		context.fillRect(this.x(frame) - 0.75, 18, 1.5, this.height - 38);
		this.figures.replaceChildren(...this.series.flatMap(({ name, style, values }) =>
			[dot(style), `${name} ${values[frame] === null ? "–" : this.unit(values[frame])}   `]));
	}
}

// Bars side by side: each { label, parts: [{ value, alpha }] }, parts on top of each other. With
// `least`, heights go by the logarithm from there to `most`.
function bars(canvas, { entries, most, style, unit, least }) {
	const height = 130, { context, width } = pen(canvas, height);
	const left = 62, base = height - 18, room = base - 8, each = (width - left) / Math.max(1, entries.length);
	const tall = (value) => !least ? (value / (most || 1)) * room
		: value ? 2 + Math.max(0, Math.log(value / least) / Math.log(most / least)) * (room - 2) : 0;
	const powers = () => [1, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6].filter((value) => value >= least && value <= most);
	context.textBaseline = "middle";
	for (const value of least ? powers() : ticks(most, 4, unit === bytes)) {
		const y = base - tall(value);
		context.fillStyle = colour("rule");
		context.fillRect(left, y, width - left, 1);
		context.fillStyle = colour("soft");
		context.textAlign = "right";
		context.fillText(unit(value), left - 6, y);
	}
	entries.forEach(({ parts }, index) => {
		let y = base;
		context.fillStyle = colour(style);
		for (const { value, alpha } of parts) {
			context.globalAlpha = alpha;
			context.fillRect(left + index * each + 1, y - tall(value), Math.max(1, each - 2), tall(value));
			y -= tall(value);
		}
	});
	context.globalAlpha = 1;
	if (entries.every(({ parts }) => parts.every(({ value }) => !value))) {
		context.fillStyle = colour("soft");
		context.textAlign = "center";
		context.fillText("none at this moment", (left + width) / 2, base - room / 2 + 7);
	}
	labels(context, entries.map(({ label }) => label), left, each, width, height - 7);
}

// Labels below bars of width `each`, at equal steps, as many as fit.
function labels(context, texts, left, each, width, y) {
	const gap = 8, wide = texts.map((text) => context.measureText(text).width);
	const every = Math.max(1, Math.ceil((Math.max(0, ...wide) + gap) / each));
	context.fillStyle = colour("soft");
	context.textAlign = "left";
	let taken = -gap;
	for (let index = 0; index < texts.length; index += every) {
		// Centred below the bar, but not beyond the edge.
		const from = Math.max(0, Math.min(left + (index + 0.5) * each - wide[index] / 2, width - wide[index]));
		if (from < taken + gap) continue;
		context.fillText(texts[index], from, y);
		taken = from + wide[index];
	}
}

// The hue of a slab, by the size of its objects.
const hue = (size) => 265 - 225 * Math.max(0, Math.min(1, (Math.log2(size) - 3) / 9));

// A map of pages: squares in rows, from left to right. The square of a mixed page is filled from below, by its used part.
class PageMap {
	constructor(run) {
		this.run = run;
		this.canvas = make("canvas");
		this.canvas.setAttribute("role", "img");
		this.canvas.setAttribute("aria-label", `The pages of ${run.name}'s pool`);
		this.pointed = make("p", { className: "figures" });
		this.canvas.addEventListener("pointermove", (event) => this.point(event));
		this.canvas.addEventListener("pointerleave", () => { this.pointed.textContent = this.what; });
	}

	layout() {
		const pages = this.run.timeline.map_deltas.pages, width = this.canvas.clientWidth;
		this.cell = 18;
		while (this.cell > 1 && Math.ceil(pages / Math.floor(width / this.cell)) * this.cell > 250) this.cell--;
		this.columns = Math.max(1, Math.floor(width / this.cell));
		Object.assign(this, pen(this.canvas, Math.ceil(pages / this.columns) * this.cell));
		this.colours = this.run.timeline.map_deltas.states.map((state) => this.colour(state));
	}

	// Returns a colour, how strong it is, and which part of the square has it, from below.
	colour(state) {
		if (state.kind === "mixed") return [colour("mixed"), 1, Math.min(1, state.used_bytes / PAGE_BYTES)];
		if (state.kind !== "slab") return [colour(state.kind), 1, 1];
		const size = this.run.timeline.class_bytes[state.class] || 8;
		return [`hsl(${hue(size)} 62% 50%)`, 0.2 + 0.8 * Math.min(1, state.used / (state.objects || 1)), 1];
	}

	show(frame) {
		const { context, cell, columns } = this, { pages } = this.run, { last } = this.run.timeline;
		const pictured = pages.seek(frame), gap = cell >= 4 ? 1 : 0;
		context.clearRect(0, 0, this.width, this.height);
		const free = colour("free");
		for (let page = 0; page < pages.state.length; page++) {
			const [fill, alpha, part] = this.colours[pages.state[page]] || ["#0000", 1, 1];
			const x = (page % columns) * cell, y = Math.floor(page / columns) * cell, tall = cell - gap;
			// Pages of one block touch, blocks do not.
			const wide = cell - (pages.first[page + 1] === 0 && (page + 1) % columns ? 0 : gap);
			if (part < 1) {
				context.globalAlpha = 1;
				context.fillStyle = free;
				context.fillRect(x, y, wide, tall);
			}
			context.fillStyle = fill;
			// A square of few pixels shows by its colour how full the page is.
			context.globalAlpha = part < 1 && tall < 4 ? part : alpha;
			const used = part < 1 && tall >= 4 ? Math.max(1, Math.min(tall - 1, Math.round(tall * part))) : tall;
			context.fillRect(x, y + tall - used, wide, used);
		}
		context.globalAlpha = 1;
		const step = last[frame];
		if (step && step.page !== null) {
			context.strokeStyle = colour("mark");
			context.lineWidth = 2;
			const side = Math.max(cell, 7), shift = (side - cell) / 2;
			context.strokeRect((step.page % columns) * cell - shift, Math.floor(step.page / columns) * cell - shift, side - gap, side - gap);
		}
		this.what = pictured === frame ? "" : `The map shows the pool after operation ${count(this.run.timeline.operations[pictured])}. `;
		this.what += "Point at a page to see its use.";
		this.pointed.textContent = this.what;
	}

	point(event) {
		const column = Math.floor(event.offsetX / this.cell);
		const page = column + Math.floor(event.offsetY / this.cell) * this.columns;
		if (column < this.columns && page < this.run.pages.state.length) this.pointed.textContent = this.describe(page);
	}

	describe(page) {
		const block = this.run.pages.block(page), length = bytes(block.pages * PAGE_BYTES);
		const classes = this.run.timeline.class_bytes, shares = this.run.hasMixed, { peer } = this.run;
		// An engine that does not know where blocks begin reports no blocks.
		const begin = block.blocks ? `${block.blocks} block${block.blocks > 1 ? "s begin" : " begins"} in it, ` : "";
		const words = {
			free: () => (peer ? `in pages of ${length} without a live block` : shares ? `free, in free pages of ${length}` : `free, a block of ${length}`),
			large: () => (shares || peer ? `live, in pages of ${length}` : `in a live block of ${length}`),
			slab: () => `a slab of ${length}: ${block.used} of ${block.objects} objects of ${bytes(classes[block.class] || 8)} are live`,
			mixed: () => `mixed: ${begin}${bytes(block.used_bytes)} of ${length} are live${peer ? "" : " or in magazines"}, ` +
				`the longest ${peer ? "part without a live block" : "free run"} has ${bytes(block.largest_free_bytes)}`,
		};
		return `Page ${count(page)}: ${words[block.kind]()}.`;
	}
}
