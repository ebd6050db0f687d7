// SPDX-License-Identifier: GPL-2.0
//
// The data of a moment: rows of a timeline, and page maps that are rebuilt from deltas.

"use strict";

const PAGE_BYTES = 4096;

// The number of deltas between two checkpoints.
const CHECKPOINT_INTERVAL = 32;

// Returns how many numbers of an ascending list are at most `value`, in O(log n).
function upTo(list, value) {
	let low = 0, high = list.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (list[middle] <= value) low = middle + 1; else high = middle;
	}
	return low;
}

// The pages of a pool. `state` has the number of each page's state, `first` is 1 for the first page of a block.
class Pages {
	constructor(map_deltas) {
		this.map_deltas = map_deltas;
		this.checkpoints = [];
		this.rewind();
	}

	rewind() {
		this.state = new Uint32Array(this.map_deltas.pages);
		this.first = new Uint8Array(this.map_deltas.pages);
		this.shown = 0;
	}

	// Moves to the last map at or before a frame; returns the frame of that map.
	seek(frame) {
		const wanted = Math.max(1, upTo(this.map_deltas.frames, frame));
		if (wanted < this.shown || wanted > this.shown + CHECKPOINT_INTERVAL) {
			const checkpoint = this.checkpoints[Math.min(Math.floor(wanted / CHECKPOINT_INTERVAL), this.checkpoints.length - 1)];
			if (checkpoint && (wanted < this.shown || checkpoint.shown > this.shown)) {
				this.state = checkpoint.state.slice();
				this.first = checkpoint.first.slice();
				this.shown = checkpoint.shown;
			} else if (wanted < this.shown) {
				this.rewind();
			}
		}
		while (this.shown < wanted) this.next();
		return this.map_deltas.frames[wanted - 1];
	}

	next() {
		const place = this.shown / CHECKPOINT_INTERVAL;
		if (Number.isInteger(place) && !this.checkpoints[place]) {
			this.checkpoints[place] = { state: this.state.slice(), first: this.first.slice(), shown: this.shown };
		}
		const writes = this.map_deltas.writes[this.shown++];
		for (let at = 0, page = 0; at < writes.length; at += 2) {
			page += writes[at];
			const state = writes[at + 1], end = page + this.map_deltas.states[state].pages;
			this.state.fill(state, page, end);
			this.first.fill(0, page, end);
			this.first[page] = 1;
		}
	}

	// Returns the block of pages that a page is in.
	block(page) {
		let from = page;
		while (from > 0 && !this.first[from]) from--;
		return { from, ...this.map_deltas.states[this.state[page]] };
	}
}

// Rows of which the data has only the changes: returns the values of a key at any frame.
class Changes {
	constructor(rows, width) {
		this.byKey = new Map();
		rows.forEach((row, frame) => {
			for (let at = 0; at < row.length; at += width) {
				if (!this.byKey.has(row[at])) this.byKey.set(row[at], { frames: [], values: [] });
				const of = this.byKey.get(row[at]);
				of.frames.push(frame);
				of.values.push(row.slice(at + 1, at + width));
			}
		});
	}

	keys() { return [...this.byKey.keys()].sort((a, b) => a - b); }

	at(key, frame) {
		const of = this.byKey.get(key);
		const number = of ? upTo(of.frames, frame) : 0;
		return number ? of.values[number - 1] : null;
	}
}

// A run of a trace on an engine or a peer. `peer` has the facts about a peer; an engine has none.
class Run {
	constructor(result) {
		this.result = result;
		this.name = result.engine;
		this.peer = result.peer;
		this.timeline = result.timeline;
		this.pages = this.timeline.map_deltas && new Pages(this.timeline.map_deltas);
		this.classes = new Changes(this.timeline.classes, 4);
		this.orders = new Changes(this.timeline.orders, 3);
		this.hasOrders = this.orders.keys().length > 0;
		this.hasRuns = this.timeline.short_free.some((value) => value > 0);
		this.hasMixed = this.hasRuns || (this.pages && this.timeline.map_deltas.states.some(({ kind }) => kind === "mixed"));
	}

	// Shares of the reserved bytes; null if no bytes are reserved, or if a peer does not report them.
	inside(frame) {
		const { live, usable, reserved } = this.timeline;
		if (this.peer && !this.peer.knows_usable_bytes) return null;
		return reserved[frame] ? (usable[frame] - live[frame]) / reserved[frame] : null;
	}

	outside(frame) {
		const { usable, reserved } = this.timeline;
		return reserved[frame] && this.timeline.pool_bytes && !this.peer ? (reserved[frame] - usable[frame]) / reserved[frame] : null;
	}

	// The share of the free bytes outside the largest free block.
	scattered(frame) {
		const free = this.timeline.pool_bytes - this.timeline.reserved[frame];
		return this.hasOrders && free > 0 ? 1 - this.timeline.largest_free[frame] / free : null;
	}
}
