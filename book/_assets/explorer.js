/* The Explorer: controls that move a position, whose decision explorer-solver.js finds at once. */

"use strict";

(() => {
  const { PARTS, area, box, drawings, number, quantity, shape, shares } = ExplorerDrawings;
  const { benchmarks, caseOf, decide, roundOf, stepsOf, systemOf } = ExplorerSolver;
  const POLICIES = ["CARD", "device only", "server only"];
  const COLUMNS = 60, ROWS = 40, WEIGHTS = 121;
  /** How long a reader rests before the result is read out, and the address written [ms]. */
  const REST_MS = 400;

  /** Value as a person writes it, such as 12.5 MHz. */
  const plain = (value, scale, unit) => `${Number((value / scale).toPrecision(4)).toLocaleString("en")}${unit && ` ${unit}`}`;
  const rounded = (value, digits) => Number(value.toPrecision(digits));
  const quoted = (text) => (/^[\w./=+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  const between = (value, low, high) => Math.min(Math.max(value, low), high);

  /** Sliders: what they are called on axes, their scale, and how a place on them becomes a value. */
  const SLIDERS = {
    weight: { label: "delay weight", scale: 1, unit: "", step: 0.005, value: (place) => rounded(place, 3) },
    distance: { label: "distance [m]", scale: 1, unit: "m", step: 1, value: (place) => Math.round(place) },
    band: { label: "bandwidth [MHz]", scale: 1e6, unit: "MHz", step: 0.01, log: true, value: (place) => rounded(10 ** place, 4) },
    static: { label: "power at any clock [W]", scale: 1, unit: "W", step: 0.5, value: (place) => rounded(place, 4) },
    waiting: { label: "power while waiting [W]", scale: 1, unit: "W", step: 0.5, value: (place) => rounded(place, 4) },
  };

  class Explorer {
    constructor(root) {
      this.root = root;
      this.data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
      this.form = root.querySelector("form");
      this.whole = root.dataset.view === "whole";
      const { home } = this.data;
      const across = root.dataset.view === "border" ? "band" : "distance";
      this.home = { ...home, ...this.placed(home.device), across, upwards: "weight" };
      this.fill();
      this.player = root.querySelector(".ex-player") && new ExplorerRound(root, (said) => this.say(said));
      this.at = this.read();
      this.form.addEventListener("input", (event) => this.moved(event.target));
      this.form.addEventListener("submit", (event) => event.preventDefault());
      this.form.addEventListener("reset", (event) => {
        event.preventDefault();
        this.at = { ...this.home };
        this.show();
        this.write();
      });
      for (const axis of root.querySelectorAll(".ex-axes select"))
        axis.addEventListener("input", () => this.turned(axis));
      if (this.whole) {
        for (const event of ["popstate", "hashchange"])
          addEventListener(event, () => {
            // a link to another part of the page is no position
            if (location.hash && !location.hash.includes("=")) return;
            clearTimeout(this.rest);
            this.at = this.read();
            this.show();
          });
        this.copying();
      }
      const map = root.querySelector('[data-panel="map"]');
      for (const event of ["pointerdown", "pointermove"])
        map?.addEventListener(event, (moved) => moved.buttons === 1 && this.pointed(map, moved));
      this.show();
      new ResizeObserver(() => this.soon()).observe(root);
    }

    /** Where the scenario has a device. */
    placed(device) {
      const { board, distance_m } = this.data.devices[device];
      return { distance: distance_m, band: this.data.boards[board].bandwidth_hz };
    }

    fill() {
      const { devices, boards, states, llms, servers, topologies, bits, limits } = this.data;
      const listed = (way) => ["listed", bits.listed[way].length > 1 ? `best of ${bits.listed[way].join(", ")}` : `${bits.listed[way][0]} (the scenario’s)`];
      const widths = (way) => [listed(way), ...bits.offered[way].filter((one) => String(one) !== String(bits.listed[way])).map((one) => [one, one])];
      const choices = {
        device: devices.map((one, place) => [place, `${one.name} (${boards[one.board].title})`]),
        state: states.map((state, place) => [place, state]),
        llm: Object.entries(llms), server: Object.entries(servers),
        topology: topologies.map((one) => [one, one]),
        up: widths("uplink_bits"), down: widths("downlink_bits"),
      };
      for (const [name, options] of Object.entries(choices))
        for (const [value, text] of options) this.form[name]?.add(new Option(text, value));
      const legend = this.root.querySelector(".ex-legend");
      for (const [, part, label] of legend ? PARTS.slice(1) : []) {
        const swatch = shape("svg", { width: 22, height: 14 }), item = document.createElement("span");
        swatch.append(...area(part, box(0, 0, 22, 14)));
        item.append(swatch, ` ${label}`);
        legend.append(item);
      }
      for (const limit of limits) {
        const item = document.createElement("li");
        item.textContent = limit;
        this.root.querySelector(".ex-limits").append(item);
      }
    }

    /** Lowest and highest value of each slider; powers end where the server's own do. */
    ranges(at = this.at) {
      const { server } = systemOf(this.data, at), home = this.home, devices = this.data.devices;
      const most = server ? Math.min(server.max_power_w, server.power_cap_w ?? Infinity) : 100;
      const linear = server ? server.linear_power_w_per_hz * server.clock_hz : 0;
      const board = this.placed(at.device);
      return {
        weight: [0, 1],
        distance: [1, Math.max(this.data.farthest_m, ...devices.map((one) => one.distance_m))],
        band: [Math.min(1e6, board.band), Math.max(1e8, board.band)],
        static: [0, Math.max(0.9 * (most - linear), at.server === home.server ? home.static : 0)],
        waiting: [0, most],
      };
    }

    /** The position that the address tells, on what is on offer; the scenario's own where it tells none. */
    read() {
      const at = { ...this.home }, told = this.whole ? new URLSearchParams(location.hash.slice(1)) : new URLSearchParams();
      const names = { device: this.data.devices.map((one) => one.name), state: this.data.states };
      for (const [key, list] of Object.entries(names))
        if (list.includes(told.get(key))) at[key] = list.indexOf(told.get(key));
      Object.assign(at, this.placed(at.device));
      for (const key of ["llm", "server", "topology", "up", "down"])
        if ([...(this.form[key]?.options ?? [])].some((option) => option.value === told.get(key))) at[key] = told.get(key);
      for (const key of ["across", "upwards"]) if (told.get(key) in SLIDERS) at[key] = told.get(key);
      for (const [key, [low, high]] of Object.entries(this.ranges(at))) {
        const value = told.has(key) ? Number(told.get(key)) : at[key];
        at[key] = Number.isFinite(value) ? between(value, low, high) : at[key];
      }
      return at;
    }

    /** Write the position into the address: in place while a slider moves, as a step to return from once it rests. */
    write() {
      if (!this.whole) return;
      const told = new URLSearchParams(), { devices, states } = this.data, own = { ...this.home, ...this.placed(this.at.device) };
      for (const [key, value] of Object.entries(this.at))
        if (value !== own[key]) told.set(key, key === "device" ? devices[value].name : key === "state" ? states[value] : value);
      const hash = told.size ? `#${told}` : "";
      if (hash === location.hash || (!hash && !location.hash.includes("="))) return;
      history.pushState(null, "", hash || location.pathname + location.search);
    }

    moved(input) {
      const { name } = input, { at } = this;
      if (name in SLIDERS) at[name] = between(SLIDERS[name].value(Number(input.value)), ...this.ranges()[name]);
      else at[name] = ["device", "state"].includes(name) ? Number(input.value) : input.value;
      if (name === "device") Object.assign(at, this.placed(at.device));
      if (name === "server" || name === "llm")
        for (const power of ["static", "waiting"]) at[power] = between(at[power], ...this.ranges()[power]);
      this.show(true);
    }

    /** Another axis of the map; one that the other already has changes places with it. */
    turned({ name, value }) {
      const other = name === "across" ? "upwards" : "across";
      if (this.at[other] === value) this.at[other] = this.at[name];
      this.at[name] = value;
      this.show(true);
    }

    show(moved = false) {
      const { data, form, at } = this, ranges = this.ranges(), board = this.placed(at.device);
      for (const [name, { scale, unit, step, log }] of Object.entries(SLIDERS)) {
        const input = form[name];
        if (!input) continue;
        const [low, high] = ranges[name].map((end) => (log ? Math.log10(end) : end));
        const own = { ...this.home, ...board }[name], shown = plain(at[name], scale, unit) + (at[name] === own ? " (the scenario’s)" : "");
        Object.assign(input, { min: low, max: high, step, value: log ? Math.log10(at[name]) : at[name] });
        input.setAttribute("aria-valuetext", shown);
        input.parentElement.querySelector(".ex-value").textContent = shown;
      }
      for (const select of this.root.querySelectorAll("select")) select.value = at[select.name];
      this.case = caseOf(data, at);
      const round = roundOf(data, at, this.case);
      this.view = round.refused ? { refused: round.refused } : this.decided(round);
      const said = this.view.refused ? `No decision: ${this.view.refused}` : this.sentence();
      this.root.querySelector(".ex-decision").textContent = said;
      this.tell(said, moved);
      const { round: solved, row } = this.view;
      this.player?.load(row, solved, solved ? stepsOf(row, solved) : []);
      const code = this.root.querySelector(".ex-command code");
      code?.replaceChildren(...this.command().flatMap((words, k) => {
        const span = document.createElement("span");
        span.textContent = words.map(quoted).join(" ");
        return k ? [" ", span] : [span];
      }));
      this.soon();
    }

    /** Read the result out, and write the address if the reader moved it, once the reader rests. */
    tell(said, moved) {
      clearTimeout(this.rest);
      this.told ??= said;
      this.rest = setTimeout(() => {
        if (this.told !== said) this.say(said);
        this.told = said;
        if (moved) this.write();
      }, REST_MS);
    }

    say(text) {
      this.root.querySelector(".ex-said").textContent = text;
    }

    decided(round) {
      const row = decide(round, this.at.weight), rows = [row, ...benchmarks(round, this.at.weight)];
      const headAtDevice = this.at.topology === "u-shaped", { blocks } = round.system;
      const view = { blocks, headAtDevice, policies: POLICIES, round, row, rows, server: round.server };
      return this.root.dataset.view === "pair" ? { ...view, pair: this.pair() } : view;
    }

    /** What CARD saves of the devices' mean delay and the server's mean energy, without shadowing. */
    pair() {
      const { data, at } = this, rounds = [];
      for (let device = 0; device < data.devices.length; device++)
        for (let state = 0; state < data.states.length; state++) {
          const { distance } = this.placed(device);
          rounds.push(roundOf(data, { ...at, device, state, distance }));
        }
      const sum = (rows, key) => rows.reduce((total, row) => total + row[key], 0);
      const saved = (weight) => {
        const mine = rounds.map((round) => decide(round, weight)), others = rounds.map((round) => benchmarks(round, weight));
        return [
          1 - sum(mine, "delay_s") / sum(others.map(([alone]) => alone), "delay_s"),
          1 - sum(mine, "energy_j") / sum(others.map(([, served]) => served), "energy_j"),
        ];
      };
      const curve = Array.from({ length: 41 }, (_, k) => saved(k / 40));
      return { published: [data.published.delay, data.published.energy], reached: saved(at.weight), curve };
    }

    sentence() {
      const { blocks, row, pair } = this.view, { cut } = row;
      if (pair) {
        const percent = (share) => `${(100 * share).toFixed(1).replace("-", "−")} %`;
        const [delay, energy] = pair.reached.map(percent), [c1, c2] = pair.published.map(percent);
        const hit = pair.reached.every((share, k) => Math.abs(share - pair.published[k]) < 0.005);
        return `${hit ? "The published pair: " : ""}CARD saves ${delay} of the delay (published: ${c1}) and ${energy} of the server’s energy (published: ${c2}).`;
      }
      const clock = row.cycles > 0 ? `server at ${number(row.frequency_hz / 1e9)} GHz` : "server idle";
      let where = `Cut after block ${cut} of ${blocks}`;
      if (cut === 0) where = `All ${blocks} blocks on the server`;
      if (cut === blocks) where = `No cut, all ${blocks} blocks on the device`;
      const device = Number.isNaN(row.device_energy_j) ? "" : `, ${quantity(row.device_energy_j, "J")} at the device`;
      const bits = [row.up, row.down].join("/"), { listed } = this.data.bits;
      const sent = Object.values(listed).flat().length > 2 || this.at.up !== "listed" || this.at.down !== "listed" ? `, ${bits} bits up/down` : "";
      const { data, at } = this, asked = `${data.devices[at.device].name}, channel ${data.states[at.state]}`;
      return `${asked}. ${where}${sent}, ${clock}: ${quantity(row.delay_s, "s")}, ${quantity(row.energy_j, "J")} at the server${device}.`;
    }

    /** What `card solve` is asked for the same decision: groups of words to keep on one line. */
    command() {
      const { data, at, home } = this, device = data.devices[at.device], own = this.placed(at.device);
      const groups = [["card", "solve", data.scenario.name], ["--device", device.name], ["--state", data.states[at.state]]];
      const link = data.boards[device.board].own_band ? `devices.${device.name}.link` : "link";
      const paths = {
        weight: "objective.delay_weight", band: `${link}.bandwidth_hz`, distance: `devices.${device.name}.distance_m`,
        llm: "llm", topology: "training.topology", server: "server.hardware",
        static: "server.static_power_w", waiting: "server.waiting_power_w", up: "wire.uplink_bits", down: "wire.downlink_bits",
      };
      for (const [key, path] of Object.entries(paths))
        if (at[key] !== { ...home, ...own }[key]) groups.push(["--set", `${path}=${["up", "down"].includes(key) ? `[${at[key]}]` : at[key]}`]);
      return groups;
    }

    copying() {
      const button = this.root.querySelector(".ex-command button"), code = this.root.querySelector(".ex-command code");
      button.addEventListener("click", async () => {
        getSelection().selectAllChildren(code);
        try {
          await navigator.clipboard.writeText(code.textContent);
          button.textContent = "Copied";
        } catch {
          button.textContent = "Selected; press Ctrl+C";
        }
        setTimeout(() => (button.textContent = "Copy"), 2000);
      });
    }

    /** Draw with the next frame, however many moves there are until then. */
    soon() {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = undefined;
        this.draw();
      });
    }

    draw() {
      const { view } = this;
      for (const svg of this.root.querySelectorAll("[data-panel]")) {
        const { clientWidth: width, clientHeight: height } = svg;
        if (width < 100) continue;
        svg.replaceChildren();
        svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
        if (svg.dataset.panel === "round") {
          this.player.draw();
          continue;
        }
        const seen = { ...view, ...this.more(svg.dataset.panel) };
        svg.setAttribute("aria-label", view.refused ? "No decision." : drawings[svg.dataset.panel](svg, width, height, seen));
      }
    }

    /** What only one picture needs. */
    more(panel) {
      const { view, at } = this;
      if (view.refused) return {};
      if (panel === "front")
        return {
          front: Array.from({ length: WEIGHTS }, (_, k) => decide(view.round, k / (WEIGHTS - 1))),
          rivals: [1, 2].map((k) => [POLICIES[k], view.rows[k]]),
        };
      return panel === "map" ? { grid: this.grid(at) } : {};
    }

    /** An axis of the map: its ends, and the value at a share of the way between them. */
    axis(name) {
      const [low, high] = this.ranges()[name], { label, log = false, scale } = SLIDERS[name];
      const value = (share) => (log ? low * (high / low) ** share : low + share * (high - low));
      return { low, high, label, log, scale, value };
    }

    /** Go where the map is pointed at; its sliders do the same by keyboard. */
    pointed(svg, event) {
      const place = svg.getBoundingClientRect();
      const found = shares(place.width, place.height, event.clientX - place.left, event.clientY - place.top);
      ["across", "upwards"].forEach((way, k) => {
        const name = this.at[way], value = this.axis(name).value(found[k]);
        this.at[name] = between(SLIDERS[name].value(SLIDERS[name].log ? Math.log10(value) : value), ...this.ranges()[name]);
      });
      this.show(true);
    }

    /** Best cut at the middle of every cell of the map; null where there is none. */
    grid(at) {
      const across = this.axis(at.across), upwards = this.axis(at.upwards);
      const fast = at.across === "weight" || at.upwards === "weight";
      const other = at.across === "weight" ? at.upwards : at.across;
      const rounds = new Map();
      const round = (place) => {
        const key = fast ? place[other] : NaN;
        if (!rounds.has(key) || !fast) rounds.set(key, roundOf(this.data, place, this.case));
        return rounds.get(key);
      };
      const cells = Array.from({ length: ROWS }, (_, r) =>
        Array.from({ length: COLUMNS }, (_, c) => {
          const place = { ...at, [at.across]: across.value((c + 0.5) / COLUMNS), [at.upwards]: upwards.value((r + 0.5) / ROWS) };
          const found = round(place);
          return found.refused ? null : decide(found, place.weight).cut;
        }),
      );
      return { across, upwards, cells, blocks: this.view.blocks, here: [at[at.across], at[at.upwards]] };
    }
  }

  function start() {
    for (const root of document.querySelectorAll(".explorer")) new Explorer(root);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
