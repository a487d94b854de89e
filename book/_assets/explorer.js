/* The Explorer: shows decisions that `card` computed when the book was built.

Sliders stop only where a decision was computed, so nothing here knows the model. What is worked out
here is where in a round a moment lies. */

"use strict";

(() => {
  const { PARTS, area, box, drawings, number, quantity, shape } = ExplorerDrawings;
  /** How long the animation of a round takes, whatever the round takes. */
  const PLAY_MS = 15000;
  const FORM = `
    <svg class="ex-patterns" aria-hidden="true"><defs>
      <pattern id="ex-uplink" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V6"/></pattern>
      <pattern id="ex-downlink" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><path d="M0 0V6"/></pattern>
      <pattern id="ex-server" width="5" height="5" patternUnits="userSpaceOnUse"><path d="M0 0H5"/></pattern>
      <pattern id="ex-adapters" width="5" height="5" patternUnits="userSpaceOnUse"><path d="M0 0H5M0 0V5"/></pattern>
    </defs></svg>
    <form class="ex-controls" aria-label="What the Explorer decides for">
      <label class="ex-wide">Device <select name="device"></select></label>
      <label>Channel state <select name="state"></select></label>
      <label>Delay weight <span class="ex-value" aria-hidden="true"></span><input type="range" name="weight"></label>
      <label>Bandwidth <span class="ex-value" aria-hidden="true"></span><input type="range" name="band"></label>
      <label>Distance <span class="ex-value" aria-hidden="true"></span><input type="range" name="distance"></label>
      <button type="reset">Back to the scenario</button>
    </form>
    <p class="ex-decision" aria-live="polite"></p>
    <div class="ex-panels">
      <div><p class="ex-title">Where to cut, how fast to clock</p><svg data-panel="cut" role="img"></svg></div>
      <div><p class="ex-title">Its place ★ among all weights</p><svg data-panel="front" role="img"></svg></div>
      <div><p class="ex-title">Delay of the round</p><svg data-panel="delay" role="img"></svg></div>
      <div><p class="ex-title">Energy of the round</p><svg data-panel="energy" role="img"></svg></div>
    </div>
    <p class="ex-legend" aria-hidden="true"></p>
    <div class="ex-round">
      <p class="ex-title">The round, from its first moment to its last</p>
      <div class="ex-player">
        <button type="button">Play</button>
        <label>Moment <input type="range" name="moment" min="0" max="1000" value="0"></label>
      </div>
      <p class="ex-now"></p>
      <svg data-panel="round" role="img"></svg>
      <p class="ex-spent"></p>
    </div>
    <div class="ex-command">
      <p class="ex-title">The same decision from the command line</p>
      <pre tabindex="0"><code></code></pre><button type="button">Copy</button>
    </div>`;

  /** Value as a person writes it, such as 12.5 MHz. */
  function plain(value, scale, unit) {
    return `${Number((value / scale).toPrecision(4)).toLocaleString("en")} ${unit}`;
  }
  const quoted = (text) => (/^[\w./=+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  const unpacked = (text) =>
    text.split(" ").flatMap((run) => {
      const [value, count] = run.split("*");
      return Array(Number(count ?? 1)).fill(Number(value));
    });

  /** Decisions on the grid, by position on its axes. */
  class Grid {
    constructor(data) {
      Object.assign(this, data);
      for (const [name, text] of Object.entries(data.columns)) this.columns[name] = unpacked(text);
      let first = 0;
      for (const board of this.boards) {
        board.first = first;
        first += this.states.length * this.bandwidths_hz.length * board.distances_m.length;
      }
    }
    board(at) {
      return this.boards[this.devices[at.device].board];
    }
    /** Decision of a policy at a place of the grid. */
    row(at, policy = 0, weight = at.weight) {
      const board = this.board(at), bands = this.bandwidths_hz.length;
      const link = board.first + (at.state * bands + at.band) * board.distances_m.length + at.distance;
      const index = (policy * this.links + link) * this.weights.length + weight;
      const row = {};
      for (const [name, values] of Object.entries(this.columns)) row[name] = values[index];
      row.delay_s = PARTS.reduce((sum, [part]) => sum + row[part], 0);
      return row;
    }
    own(device) {
      const distances = this.boards[this.devices[device].board].distances_m;
      return distances.indexOf(this.devices[device].distance_m);
    }
  }

  /** What happens in a round, in order, with the energy spent before each step. */
  function timeline(grid, row) {
    const lasting = {
      device: row.device_compute_s, uplink: row.uplink_s,
      server: row.server_compute_s, downlink: row.downlink_s,
    };
    const sent = row.uplink_s + row.adapter_up_s;
    const computing = row.device_energy_j - row.sending_j;
    const steps = [];
    let time = 0, server = 0, device = 0;
    function run(lane, label, seconds, batch) {
      if (!(seconds > 0)) return;
      const step = { lane, label, batch, start: time, seconds, server, device, serverJ: 0, deviceJ: 0 };
      if (lane === "server") step.serverJ = row.energy_j * (seconds / row.server_compute_s);
      if (lane === "device") step.deviceJ = computing * (seconds / row.device_compute_s);
      if (lane === "uplink") step.deviceJ = row.sending_j * (seconds / sent);
      steps.push(step);
      time += seconds;
      server += step.serverJ;
      device += step.deviceJ;
    }
    run("downlink", "adapters", row.adapter_down_s, 0);
    for (let batch = 1; batch <= grid.iterations; batch++)
      for (const [lane, label, share] of grid.steps[row.cut])
        run(lane, label, (share * lasting[lane]) / grid.iterations, batch);
    run("uplink", "adapters", row.adapter_up_s, 0);
    return { steps, seconds: time, server, device };
  }

  function stateAt(round, time) {
    let low = 0, high = round.steps.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (round.steps[middle].start <= time) low = middle;
      else high = middle - 1;
    }
    const step = round.steps[low];
    const done = Math.min(1, Math.max(0, (time - step.start) / step.seconds));
    return { step, server: step.server + done * step.serverJ, device: step.device + done * step.deviceJ };
  }

  class Explorer {
    constructor(root) {
      const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
      root.querySelector(".ex-without").remove();
      root.insertAdjacentHTML("beforeend", FORM);
      this.root = root;
      this.grid = new Grid(data);
      this.form = root.querySelector("form");
      this.button = root.querySelector(".ex-player button");
      this.moment = root.querySelector('[name="moment"]');
      this.fill();
      this.form.addEventListener("input", (event) => this.moved(event.target));
      this.form.addEventListener("submit", (event) => event.preventDefault());
      this.form.addEventListener("reset", (event) => {
        event.preventDefault();
        this.home();
      });
      this.button.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
      this.moment.addEventListener("input", () => {
        this.pause();
        this.cursor();
      });
      this.copying();
      this.home();
      new ResizeObserver(() => this.draw()).observe(root);
    }

    fill() {
      const { devices, states } = this.grid;
      for (const [name, items] of [["device", devices.map((d) => `${d.name} (${this.grid.boards[d.board].title})`)], ["state", states]])
        items.forEach((text, value) => this.form[name].add(new Option(text, value)));
      for (const [, part, label] of PARTS.slice(1)) {
        const swatch = shape("svg", { width: 22, height: 14 }), item = document.createElement("span");
        swatch.append(...area(part, box(0, 0, 22, 14)));
        item.append(swatch, ` ${label}`);
        this.root.querySelector(".ex-legend").append(item);
      }
    }

    /** Back to where the scenario itself stands. */
    home() {
      const { scenario } = this.grid;
      this.grid.at = { ...scenario.at, distance: this.grid.own(scenario.at.device) };
      this.show();
    }

    moved(input) {
      const at = this.grid.at;
      at[input.name] = Number(input.value);
      if (input.name === "device") at.distance = this.grid.own(at.device);
      this.show();
    }

    show() {
      const { grid, form } = this, { at, scenario } = grid;
      const distances = grid.board(at).distances_m;
      const sliders = {
        weight: [grid.weights, (v) => plain(v, 1, "").trim(), scenario.at.weight],
        band: [grid.bandwidths_hz, (v) => plain(v, 1e6, "MHz"), scenario.at.band],
        distance: [distances, (v) => plain(v, 1, "m"), grid.own(at.device)],
      };
      for (const [name, [values, text, own]] of Object.entries(sliders)) {
        const input = form[name], shown = text(values[at[name]]) + (at[name] === own ? " (the scenario’s)" : "");
        input.max = values.length - 1;
        input.value = at[name];
        input.setAttribute("aria-valuetext", shown);
        input.parentElement.querySelector(".ex-value").textContent = shown;
      }
      form.device.value = at.device;
      form.state.value = at.state;
      const rows = grid.policies.map((_, policy) => grid.row(at, policy));
      this.view = { grid, at, rows, row: rows[0], round: timeline(grid, rows[0]) };
      this.root.querySelector(".ex-decision").textContent = this.sentence();
      const code = this.root.querySelector(".ex-command code");
      code.replaceChildren(...this.command().flatMap((words, k) => {
        const span = document.createElement("span");
        span.textContent = words.map(quoted).join(" ");
        return k ? [" ", span] : [span];
      }));
      this.pause();
      this.moment.value = 0;
      this.draw();
    }

    sentence() {
      const { grid, row } = this.view, { cut } = row;
      const clock = row.frequency_ghz ? `server at ${number(row.frequency_ghz)} GHz` : "server idle";
      let where = `Cut after block ${cut} of ${grid.blocks}`;
      if (cut === 0) where = `Cut before block 1 of ${grid.blocks}`;
      if (cut === grid.blocks) where = `No cut, all ${grid.blocks} blocks on the device`;
      const device = Number.isNaN(row.device_energy_j) ? "" : `, ${quantity(row.device_energy_j, "J")} at the device`;
      return `${where}, ${clock}: ${quantity(row.delay_s, "s")}, ${quantity(row.energy_j, "J")} at the server${device}.`;
    }

    /** What `card solve` is asked for the same decision: groups of words to keep on one line. */
    command() {
      const { grid, at } = this.view, { scenario } = grid, device = grid.devices[at.device];
      const groups = [["card", "solve", scenario.name], ["--device", device.name], ["--state", grid.states[at.state]]];
      const set = (path, value) => groups.push(["--set", `${path}=${value}`]);
      if (at.weight !== scenario.at.weight) set("objective.delay_weight", grid.weights[at.weight]);
      if (at.band !== scenario.at.band) set("link.bandwidth_hz", grid.bandwidths_hz[at.band]);
      if (at.distance !== grid.own(at.device))
        set(`devices.${device.name}.distance_m`, grid.board(at).distances_m[at.distance]);
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

    draw() {
      for (const svg of this.root.querySelectorAll("[data-panel]")) {
        const width = svg.parentElement.clientWidth;
        if (width < 100) continue;
        svg.replaceChildren();
        const [height, said] = drawings[svg.dataset.panel](svg, width, this.view);
        svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
        svg.setAttribute("aria-label", said);
      }
      this.cursor();
    }

    cursor() {
      const { round, grid, row } = this.view, svg = this.root.querySelector('[data-panel="round"]');
      const share = Number(this.moment.value) / Number(this.moment.max), time = share * round.seconds;
      const { step, server, device } = stateAt(round, time), width = svg.parentElement.clientWidth;
      const place = 68 + share * (width - 70);
      svg.querySelector(".ex-cursor")?.setAttribute("transform", `translate(${place} 0)`);
      const when = `${quantity(time, "s")} of ${quantity(round.seconds, "s")}`;
      const batch = step.batch ? `mini-batch ${step.batch} of ${grid.iterations}` : "once per round";
      this.moment.setAttribute("aria-valuetext", when);
      this.root.querySelector(".ex-now").textContent = `${when} · ${batch} · ${step.lane}: ${step.label}`;
      const spent = [`server ${quantity(server, "J")} of ${quantity(row.energy_j, "J")} (solid line)`];
      if (!Number.isNaN(device)) spent.push(`device ${quantity(device, "J")} of ${quantity(row.device_energy_j, "J")} (dashed)`);
      this.root.querySelector(".ex-spent").textContent = `Spent so far: ${spent.join(", ")}`;
    }

    play() {
      const whole = Number(this.moment.max);
      if (Number(this.moment.value) >= whole) this.moment.value = 0;
      const from = Number(this.moment.value), rough = matchMedia("(prefers-reduced-motion: reduce)").matches;
      let begun;
      const tick = (now) => {
        begun ??= now;
        const moved = ((now - begun) / PLAY_MS) * whole;
        this.moment.value = from + (rough ? Math.floor(moved / 50) * 50 : moved);
        this.cursor();
        if (Number(this.moment.value) >= whole) this.pause();
        else this.playing = requestAnimationFrame(tick);
      };
      this.playing = requestAnimationFrame(tick);
      this.button.textContent = "Pause";
    }

    pause() {
      cancelAnimationFrame(this.playing);
      this.playing = undefined;
      this.button.textContent = "Play";
    }
  }

  function start() {
    for (const root of document.querySelectorAll(".explorer")) new Explorer(root);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
