/* What the Explorer draws: SVG of one decision, given a width. */

"use strict";

const ExplorerDrawings = (() => {
  const PARTS = [
    ["adapter_down_s", "adapters", "adapters"],
    ["device_compute_s", "device", "device computes"],
    ["uplink_s", "uplink", "uplink"],
    ["server_compute_s", "server", "server computes"],
    ["downlink_s", "downlink", "downlink"],
    ["adapter_up_s", "adapters", "adapters"],
  ];
  const LANES = ["device", "uplink", "server", "downlink"];

  /** Number with four digits, without an exponent. */
  function number(value) {
    if (value === 0) return "0";
    return value >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(4);
  }
  function quantity(value, unit) {
    if (Number.isNaN(value)) return "unknown";
    const steps = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];
    const [scale, prefix] = unit === "s" ? [1, ""] : steps.find(([s]) => value >= s) ?? [1, ""];
    return `${number(value / scale)} ${prefix}${unit}`;
  }
  const several = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

  function shape(tag, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  const write = (x, y, text, more = {}) => shape("text", { x, y, ...more }, text);
  /** A part's area in its colour, under its pattern. */
  function area(part, d) {
    const filled = shape("path", { d, class: `ex-${part}` });
    return part === "device" ? [filled] : [filled, shape("path", { d, fill: `url(#ex-${part})` })];
  }
  const box = (x, y, width, height) => `M${x} ${y}h${width}v${height}h${-width}z`;
  function ticks(low, high) {
    const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
  }

  /** Each draws into an SVG of a width and returns its height and a description. */
  const drawings = {
    cut(svg, width, { grid, row }) {
      const end = width - 1, parts = grid.blocks + 2, each = end / parts;
      const alone = row.cut === grid.blocks, head = alone || grid.topology === "u-shaped";
      for (let k = 0; k < parts; k++) {
        const mine = k === parts - 1 ? head : k <= row.cut;
        svg.append(...area(mine ? "device" : "server", box(k * each + 1, 30, each - 2, 50)));
      }
      const left = row.cut ? `embedding + ${several(row.cut, "block")}` : "embedding";
      svg.append(write(1, 16, `device: ${alone ? "the whole LLM" : left}`));
      if (!alone) {
        const right = `${several(grid.blocks - row.cut, "block")}${head ? "" : " + head"}`;
        svg.append(shape("path", { d: `M${(row.cut + 1) * each} 22V88`, class: "ex-ink" }));
        svg.append(write(end, 103, `server: ${right}`, { "text-anchor": "end" }));
      }
      const top = grid.frequency_max_hz, x = (hz) => (hz / top) * end;
      const low = grid.board(grid.at).frequency_min_hz;
      svg.append(
        write(0, 164, "server clock"),
        shape("path", { d: box(0, 178, end, 10), class: "ex-track" }),
        shape("path", { d: box(x(low), 178, end - x(low), 10), class: "ex-range" }),
        write(0, 208, "0", { class: "ex-quiet" }),
        write(end, 208, `${(top / 1e9).toFixed(2)} GHz`, { "text-anchor": "end", class: "ex-quiet" }),
      );
      const clock = row.frequency_ghz, said = clock ? `${number(clock)} GHz` : "idle";
      svg.append(write(end, 164, said, { "text-anchor": "end", class: "ex-strong" }));
      if (clock) svg.append(shape("path", { d: `M${x(clock * 1e9)} 172v22`, class: "ex-ink" }));
      return [216, `${several(row.cut, "block")} of ${grid.blocks} on the device; server clock ${said}.`];
    },

    front(svg, width, { grid, at, row }) {
      const all = grid.weights.map((_, weight) => grid.row(at, 0, weight));
      const rivals = [1, 2].map((policy) => [grid.policies[policy], grid.row(at, policy)]);
      const drawn = [...all, ...rivals.map(([, r]) => r)];
      const first = Math.min(...drawn.map((r) => r.delay_s)), last = Math.max(...drawn.map((r) => r.delay_s));
      const margin = 0.08 * (last - first || last), left = first - margin, right = last + margin;
      const top = 1.08 * Math.max(1e-12, ...drawn.map((r) => r.energy_j));
      const [kilo, unit] = top >= 2000 ? [1000, "kJ"] : [1, "J"];
      const height = 230, x0 = 42, y0 = height - 34;
      const x = (s) => x0 + ((s - left) / (right - left)) * (width - x0 - 10), y = (j) => y0 - (j / top) * (y0 - 22);
      for (const s of ticks(left, right)) {
        svg.append(shape("path", { d: `M${x(s)} ${y0}V22`, class: "ex-grid" }));
        svg.append(write(x(s), y0 + 15, Number(s.toPrecision(3)), { "text-anchor": "middle", class: "ex-quiet" }));
      }
      for (const j of ticks(0, top / kilo)) {
        svg.append(shape("path", { d: `M${x0} ${y(j * kilo)}H${width - 10}`, class: "ex-grid" }));
        svg.append(write(x0 - 5, y(j * kilo) + 4, Number(j.toPrecision(3)), { "text-anchor": "end", class: "ex-quiet" }));
      }
      svg.append(write(width - 10, height - 3, "delay [s]", { "text-anchor": "end" }), write(0, 12, `server energy [${unit}]`));
      svg.append(shape("path", { d: `M${all.map((r) => `${x(r.delay_s)} ${y(r.energy_j)}`).join("L")}`, class: "ex-front" }));
      for (const r of all) svg.append(shape("circle", { cx: x(r.delay_s), cy: y(r.energy_j), r: 3.5, class: "ex-point" }));
      const marks = [(cx, cy) => box(cx - 4.5, cy - 4.5, 9, 9), (cx, cy) => `M${cx} ${cy - 6.5}l6 11h-12z`];
      rivals.forEach(([name, r], k) => {
        const end = width - 10 - 96 * k;
        svg.append(shape("path", { d: marks[k](x(r.delay_s), y(r.energy_j)), class: "ex-rival" }));
        svg.append(write(end, 12, name, { "text-anchor": "end", class: "ex-small" }));
        svg.append(shape("path", { d: marks[k](end - 82, 8), class: "ex-rival" }));
      });
      const star = Array.from({ length: 10 }, (_, k) => {
        const angle = (k * Math.PI) / 5, radius = k % 2 ? 4.5 : 11;
        return `${x(row.delay_s) + radius * Math.sin(angle)} ${y(row.energy_j) - radius * Math.cos(angle)}`;
      });
      svg.append(shape("path", { d: `M${star.join("L")}z`, class: "ex-star" }));
      return [height, `Delay against server energy: CARD’s decisions at every weight, the chosen one a star, and two benchmarks: ${rivals.map(([name, r]) => `${name} ${quantity(r.delay_s, "s")}, ${quantity(r.energy_j, "J")}`).join("; ")}.`];
    },

    delay(svg, width, { grid, rows }) {
      const top = Math.max(...rows.map((r) => r.delay_s)), room = width - 1;
      rows.forEach((r, k) => {
        let x = 0;
        svg.append(write(0, 13 + 54 * k, grid.policies[k], k ? {} : { class: "ex-strong" }));
        svg.append(write(room, 13 + 54 * k, quantity(r.delay_s, "s"), { "text-anchor": "end", class: "ex-strong" }));
        for (const [name, part] of PARTS) {
          const wide = (r[name] / top) * room;
          if (wide > 0) svg.append(...area(part, box(x, 19 + 54 * k, wide, 24)));
          x += wide;
        }
      });
      return [160, rows.map((r, k) => `${grid.policies[k]}: ${quantity(r.delay_s, "s")}`).join("; ")];
    },

    energy(svg, width, { grid, rows }) {
      const spent = (r) => [["server", r.energy_j], ["device", r.device_energy_j]];
      const known = rows.flatMap(spent).map(([, j]) => j).filter((j) => !Number.isNaN(j));
      const top = Math.max(1e-12, ...known), room = width - 140;
      rows.forEach((r, k) => {
        svg.append(write(0, 13 + 54 * k, grid.policies[k], k ? {} : { class: "ex-strong" }));
        spent(r).forEach(([who, j], place) => {
          const y = 19 + 54 * k + 16 * place, wide = Number.isNaN(j) ? 0 : (j / top) * room;
          if (wide > 0) svg.append(...area(who, box(0, y, wide, 13)));
          svg.append(write(wide + 6, y + 11, `${who} ${quantity(j, "J")}`, { class: "ex-small" }));
        });
      });
      const said = rows.map((r, k) => `${grid.policies[k]}: ${spent(r).map(([who, j]) => `${who} ${quantity(j, "J")}`).join(", ")}`);
      return [160, said.join("; ")];
    },

    round(svg, width, { round }) {
      const x0 = 68, x = (t) => x0 + (t / round.seconds) * (width - x0 - 2);
      LANES.forEach((lane, k) => {
        const y = 4 + 26 * k;
        svg.append(write(0, y + 14, lane), shape("path", { d: box(x0, y, width - x0 - 2, 20), class: "ex-track" }));
        for (const adapters of [false, true]) {
          const mine = round.steps.filter((s) => s.lane === lane && (s.batch === 0) === adapters);
          const d = mine.map((s) => box(x(s.start), y, x(s.start + s.seconds) - x(s.start), 20)).join("");
          if (d) svg.append(...area(adapters ? "adapters" : lane, d));
        }
      });
      const base = 196, high = Math.max(1e-12, round.server, round.device || 0);
      const y = (j) => base - (j / high) * 74;
      svg.append(shape("path", { d: `M${x0} ${base}H${width - 2}`, class: "ex-grid" }));
      svg.append(write(0, 130, "energy"), write(0, 145, "spent"));
      for (const who of ["server", "device"]) {
        if (Number.isNaN(round[who])) continue;
        const points = round.steps.map((s) => `${x(s.start)} ${y(s[who])}`);
        points.push(`${x(round.seconds)} ${y(round[who])}`);
        svg.append(shape("path", { d: `M${points.join("L")}`, class: `ex-line ex-line-${who}` }));
      }
      for (const [t, anchor] of [[0, "start"], [round.seconds, "end"]])
        svg.append(write(x(t), 213, quantity(t, "s"), { "text-anchor": anchor, class: "ex-quiet" }));
      svg.append(shape("path", { d: "M0 0V200", class: "ex-cursor" }));
      return [218, "Who is busy when: the device, the uplink, the server and the downlink take turns."];
    },
  };

  return { PARTS, area, box, drawings, number, quantity, shape };
})();
