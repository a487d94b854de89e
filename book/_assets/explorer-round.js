/* The Explorer's player: a round of the split LLM, who is busy when, to scale. */

"use strict";

const ExplorerRound = (() => {
  const { area, box, number, quantity, shape, ticks, write } = ExplorerDrawings;
  const { LANES, spentAt } = ExplorerSolver;
  /** How long the first mini-batch, each one between and the last one are played [ms]. */
  const FIRST_MS = 6000, BETWEEN_MS = 400, LAST_MS = 3000, MOST_BETWEEN_MS = 8000;
  /** A frame that came later than this was held up, and makes no leap [ms]. */
  const LATE_MS = 100;
  const LEFT = 74, CLOSE = { top: 24, pitch: 27, high: 21 }, WHOLE = { top: 184, pitch: 12, high: 9 };
  const names = Object.keys(LANES);
  const colour = (step) => (step.label === "adapters" ? "adapters" : step.lane);
  const endOf = (step) => step.start_s + step.duration_s;

  return class Round {
    constructor(root, say) {
      this.say = say;
      this.svg = root.querySelector('[data-panel="round"]');
      this.button = root.querySelector(".ex-player button");
      this.slider = root.querySelector(".ex-player input");
      this.spans = root.querySelectorAll(".ex-now span");
      this.button.addEventListener("click", () => {
        if (!this.frame) return this.play();
        this.stop();
        this.to(this.now_s);
      });
      this.slider.addEventListener("input", () => {
        this.stop();
        this.to(this.starts[this.slider.value]);
      });
    }

    /** Take another decision, whose round waits at its beginning. */
    load(decision, solved, steps) {
      Object.assign(this, { decision, solved, steps });
      this.end_s = steps.length ? endOf(steps.at(-1)) : 0;
      this.starts = [...steps.map((step) => step.start_s), this.end_s];
      this.slider.max = steps.length;
      this.button.disabled = this.slider.disabled = !steps.length;
      this.batches = [];
      for (const step of steps) {
        const last = this.batches.at(-1);
        if (last?.number === step.batch) last.end_s = endOf(step);
        else this.batches.push({ number: step.batch, start_s: step.start_s, end_s: endOf(step) });
      }
      this.span_s = Math.max(...this.batches.map((one) => one.end_s - one.start_s));
      this.moving = undefined; // until all is drawn anew
      this.stop();
      this.to(0);
    }

    stop() {
      cancelAnimationFrame(this.frame);
      this.frame = undefined;
      this.button.textContent = "Play";
    }

    play() {
      if (this.now_s >= this.end_s) this.to(0);
      let before = performance.now(), now_s = this.now_s;
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      const next = (time) => {
        const batch = this.batchAt(now_s), frame_ms = Math.min(Math.max(time - before, 0), LATE_MS);
        now_s += (frame_ms / this.pace(batch)) * (batch.end_s - batch.start_s);
        before = time;
        if (now_s >= this.end_s) {
          this.stop();
          this.to(this.end_s);
          this.say([...this.spans].map((span) => span.textContent).join("; "));
          return;
        }
        // where motion is unwelcome, it goes from step to step
        this.to(still ? this.steps[this.place(now_s)].start_s : now_s);
        this.frame = requestAnimationFrame(next);
      };
      this.button.textContent = "Pause";
      this.frame = requestAnimationFrame(next);
    }

    /** How long a mini-batch is played [ms]. */
    pace(batch) {
      if (batch === this.batches[0]) return FIRST_MS;
      return batch === this.batches.at(-1) ? LAST_MS : Math.min(BETWEEN_MS, MOST_BETWEEN_MS / (this.batches.length - 2));
    }

    /** Step that is under way at a moment; one more than the last at the end. */
    place(now_s) {
      const found = this.starts.findLastIndex((start) => start <= now_s);
      return now_s >= this.end_s ? this.steps.length : found;
    }

    to(now_s) {
      this.now_s = now_s;
      const { steps, decision, solved } = this, place = this.place(now_s), step = steps[place];
      this.slider.value = place;
      let said = ["", "", "", ""];
      if (steps.length) {
        const { passed_s, energy_j, device_energy_j } = spentAt(decision, solved, steps, now_s);
        const of = (value, whole, unit) => {
          if (Number.isNaN(whole)) return "unknown";
          const digits = whole > 0 ? Math.max(0, 3 - Math.floor(Math.log10(whole))) : 0;
          return `${value.toFixed(Math.min(digits, 6))} of ${whole >= 1000 ? number(whole) : whole.toFixed(Math.min(digits, 6))} ${unit}`;
        };
        const count = solved.system.local_iterations, fast = this.frame && this.pace(this.batchAt(now_s)) < LAST_MS;
        const which = step && `mini-batch ${step.batch} of ${count}`;
        const what = step && (step.label === "adapters" ? `${step.lane}: adapters` : fast ? which : `${which}, ${step.lane}: ${step.label}`);
        said = [
          what ? what[0].toUpperCase() + what.slice(1) : "The round is over",
          of(passed_s, decision.delay_s, "s"),
          `server ${of(energy_j, decision.energy_j, "J")}`,
          `device ${of(device_energy_j, decision.device_energy_j, "J")}`,
        ];
      }
      this.spans.forEach((span, k) => (span.textContent = said[k]));
      this.slider.setAttribute("aria-valuetext", said.filter(Boolean).join("; ") || "no round");
      this.move();
    }

    /** Mini-batch that is under way at a moment, with the adapters that move before the first or after the last. */
    batchAt(now_s) {
      return this.batches.find((one) => now_s < one.end_s) ?? this.batches.at(-1);
    }

    /** Lanes of a picture with the steps of a span of time. */
    lanes(into, { top, pitch, high }, steps, x) {
      names.forEach((lane, row) => {
        const y = top + row * pitch;
        into.append(shape("path", { d: box(LEFT, y, this.right - LEFT, high), class: "ex-track" }));
        for (const part of [lane, "adapters"]) {
          const mine = steps.filter((step) => step.lane === lane && colour(step) === part);
          if (!mine.length) continue;
          const d = mine.map((step) => box(x(step.start_s), y, x(endOf(step)) - x(step.start_s), high)).join("");
          into.append(...area(part, d));
        }
      });
    }

    /** Draw what stands still: the whole round. */
    draw() {
      const { svg, steps } = this;
      svg.replaceChildren();
      this.moving = undefined;
      this.right = svg.clientWidth - 2;
      if (!steps.length) return svg.setAttribute("aria-label", "No round.");
      this.x = (seconds) => LEFT + (seconds / this.end_s) * (this.right - LEFT);
      this.lanes(svg, WHOLE, steps, this.x);
      const foot = WHOLE.top + names.length * WHOLE.pitch;
      svg.append(write(0, WHOLE.top + 27, "the round", { class: "ex-small" }));
      this.axis(svg, foot + 14, 0, this.end_s, this.x);
      this.moving = shape("g", {});
      svg.append(this.moving);
      const shares = Object.values(LANES).map((part, k) => `${names[k]} ${quantity(this.decision[part], "s")}`);
      const adapters = this.decision.adapter_down_s + this.decision.adapter_up_s;
      svg.setAttribute("aria-label", `Who is busy when in the round: ${shares.join(", ")}, adapters ${quantity(adapters, "s")}, one after the other.`);
      this.move();
    }

    axis(into, y, from_s, to_s, x) {
      for (const value of ticks(from_s, to_s)) {
        const text = `${Number(value.toPrecision(4))} s`, at = x(value), half = 3.6 * text.length;
        if (at + half < this.right) into.append(write(Math.max(at, LEFT + half), y, text, { "text-anchor": "middle", class: "ex-quiet" }));
      }
    }

    /** Draw what moves: the mini-batch under way, enlarged, and the moment in both pictures. */
    move() {
      if (!this.moving) return;
      const { moving, now_s } = this, batch = this.batchAt(now_s), wide = this.right - LEFT;
      const x = (seconds) => LEFT + ((seconds - batch.start_s) / this.span_s) * wide;
      const mine = this.steps.filter((step) => step.batch === batch.number), step = this.steps[this.place(now_s)];
      moving.replaceChildren();
      moving.append(write(LEFT, 14, `mini-batch ${batch.number}, enlarged`, { class: "ex-quiet" }));
      this.lanes(moving, CLOSE, mine, x);
      names.forEach((lane, row) => {
        moving.append(write(0, CLOSE.top + row * CLOSE.pitch + 15, lane, lane === step?.lane ? { class: "ex-strong" } : {}));
      });
      const foot = CLOSE.top + names.length * CLOSE.pitch, below = WHOLE.top - 4, down = WHOLE.top + names.length * WHOLE.pitch;
      this.axis(moving, foot + 10, batch.start_s, batch.start_s + this.span_s, x);
      const [low, high] = [this.x(batch.start_s), this.x(batch.end_s)], end = x(batch.end_s);
      moving.append(
        shape("path", { d: `M${LEFT} ${foot + 16}L${low} ${below}M${end} ${foot + 16}L${high} ${below}`, class: "ex-zoom" }),
        shape("path", { d: box(low, below, high - low, down - below), class: "ex-window" }),
        shape("path", { d: `M${x(now_s)} 20V${foot}`, class: "ex-ink ex-cursor" }),
        shape("path", { d: `M${this.x(now_s)} ${below - 4}V${down + 2}`, class: "ex-ink ex-cursor" }),
      );
    }
  };
})();
