/* What the Explorer draws: SVG of decisions, given a width and a height. */

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
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
  }

  const frame = (width, height) => [46, width - 12, height - 40, 26];
  /** Axes of a plane: its frame, lines at round numbers, and where values lie. */
  function plane(svg, width, height, across, upwards) {
    const [x0, x1, y0, y1] = frame(width, height);
    const place = ({ low, high, log }, from, to) => {
      const f = log ? Math.log10 : (value) => value;
      return (value) => from + ((f(value) - f(low)) / (f(high) - f(low))) * (to - from);
    };
    const x = place(across, x0, x1), y = place(upwards, y0, y1);
    const lines = ({ low, high, log, scale = 1 }) =>
      log ? decades(low, high) : ticks(low / scale, high / scale).map((t) => t * scale);
    const told = ({ scale = 1 }, value) => Number((value / scale).toPrecision(3)).toLocaleString("en");
    for (const value of lines(across)) {
      svg.append(shape("path", { d: `M${x(value)} ${y0}V${y1}`, class: "ex-grid" }));
      svg.append(write(x(value), y0 + 16, told(across, value), { "text-anchor": "middle", class: "ex-quiet" }));
    }
    for (const value of lines(upwards)) {
      svg.append(shape("path", { d: `M${x0} ${y(value)}H${x1}`, class: "ex-grid" }));
      svg.append(write(x0 - 5, y(value) + 4, told(upwards, value), { "text-anchor": "end", class: "ex-quiet" }));
    }
    svg.append(write(x1, height - 5, across.label, { "text-anchor": "end" }), write(0, 14, upwards.label));
    return { x, y, x0, x1, y0, y1 };
  }
  /** Shares of a plane's two axes at a point of its SVG. */
  function shares(width, height, px, py) {
    const [x0, x1, y0, y1] = frame(width, height);
    return [(px - x0) / (x1 - x0), (y0 - py) / (y0 - y1)].map((share) => Math.min(Math.max(share, 0), 1));
  }
  function decades(low, high) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
      for (const m of [1, 2, 5]) if (m * 10 ** power >= low * 0.999 && m * 10 ** power <= high * 1.001) found.push(m * 10 ** power);
    return found;
  }
  function star(x, y) {
    const points = Array.from({ length: 10 }, (_, k) => {
      const angle = (k * Math.PI) / 5, radius = k % 2 ? 4.5 : 11;
      return `${x + radius * Math.sin(angle)} ${y - radius * Math.cos(angle)}`;
    });
    return shape("path", { d: `M${points.join("L")}z`, class: "ex-star" });
  }
  /** Share of the device's colour that a cut has; the rest is the server's. */
  const tint = (cut, blocks) => `fill:color-mix(in oklab, var(--ex-device) ${(100 * cut) / blocks}%, var(--ex-server))`;
  const cutName = (cut, blocks) => (cut === 0 ? "0: all on the server" : cut === blocks ? `${cut}: all on the device` : `cut ${cut}`);

  /** Each draws into an SVG of a width and a height, and returns a description. */
  const drawings = {
    cut(svg, width, height, { blocks, headAtDevice, server, row }) {
      const end = width - 1, parts = blocks + 2, each = end / parts;
      const alone = row.cut === blocks, head = alone || headAtDevice;
      for (let k = 0; k < parts; k++) {
        const mine = k === parts - 1 ? head : k <= row.cut;
        svg.append(...area(mine ? "device" : "server", box(k * each + 1, 30, each - 2, 50)));
      }
      const left = row.cut ? `embedding + ${several(row.cut, "block")}` : "embedding";
      svg.append(write(1, 16, `device: ${alone ? "the whole LLM" : left}`));
      if (!alone) {
        const right = `${several(blocks - row.cut, "block")}${head ? "" : " + head"}`;
        svg.append(shape("path", { d: `M${(row.cut + 1) * each} 22V88`, class: "ex-ink" }));
        svg.append(write(end, 103, `server: ${right}`, { "text-anchor": "end" }));
      }
      const { top, lowest: low } = server, x = (hz) => (hz / top) * end;
      svg.append(
        write(0, 134, "server clock"),
        shape("path", { d: box(0, 146, end, 10), class: "ex-track" }),
        shape("path", { d: box(x(low), 146, end - x(low), 10), class: "ex-range" }),
        write(0, 174, "0", { class: "ex-quiet" }),
        write(end, 174, `${(top / 1e9).toFixed(2)} GHz`, { "text-anchor": "end", class: "ex-quiet" }),
      );
      const clock = row.cycles > 0 ? row.frequency_hz / 1e9 : 0, said = clock ? `${number(clock)} GHz` : "idle";
      svg.append(write(end, 134, said, { "text-anchor": "end", class: "ex-strong" }));
      if (clock) svg.append(shape("path", { d: `M${x(clock * 1e9)} 140v22`, class: "ex-ink" }));
      return `${several(row.cut, "block")} of ${blocks} on the device; server clock ${said}.`;
    },

    map(svg, width, height, { grid }) {
      const { across, upwards, cells, blocks, here } = grid;
      const { x0, x1, y0, y1, x, y } = plane(svg, width, height, across, upwards);
      const wide = (x1 - x0) / cells[0].length, high = (y0 - y1) / cells.length, runs = new Map();
      cells.forEach((row, r) => {
        for (let from = 0, c = 1; c <= row.length; c++) {
          if (c < row.length && row[c] === row[from]) continue;
          if (!runs.has(row[from])) runs.set(row[from], []);
          runs.get(row[from]).push({ x: x0 + from * wide, y: y0 - (r + 1) * high, wide: (c - from) * wide });
          from = c;
        }
      });
      runs.delete(null);
      const first = svg.firstChild;
      for (const [cut, found] of runs) {
        const d = found.map((run) => box(run.x - 0.2, run.y - 0.2, run.wide + 0.4, high + 0.4)).join("");
        svg.insertBefore(shape("path", { d, style: tint(cut, blocks) }), first);
        const most = Math.max(...found.map((run) => run.wide)), broad = found.filter((run) => run.wide > 0.8 * most);
        const middle = broad[broad.length >> 1], words = cutName(cut, blocks);
        const text = middle.wide > 8 * words.length ? words : middle.wide > 22 && found.length > 1 ? `${cut}` : "";
        if (text) svg.append(write(middle.x + middle.wide / 2, middle.y + high / 2 + 5, text, { "text-anchor": "middle", class: "ex-halo" }));
      }
      svg.append(star(x(here[0]), y(here[1])));
      const told = [...runs.keys()].sort((a, b) => a - b).map((cut) => cutName(cut, blocks));
      return `Map of the best cut over ${across.label} and ${upwards.label}, the position a star. Cuts seen: ${told.join("; ")}.`;
    },

    front(svg, width, height, { front, rivals, row }) {
      const drawn = [...front, ...rivals.map(([, r]) => r)];
      const first = Math.min(...drawn.map((r) => r.delay_s)), last = Math.max(...drawn.map((r) => r.delay_s));
      const margin = 0.08 * (last - first || last), top = 1.08 * Math.max(1e-12, ...drawn.map((r) => r.energy_j));
      const [scale, unit] = top >= 2000 ? [1000, "kJ"] : [1, "J"];
      const { x, y, x1 } = plane(svg, width, height,
        { low: Math.max(0, first - margin), high: last + margin, label: "delay of the round [s]" },
        { low: 0, high: top, scale, label: `server energy [${unit}]` });
      for (const cut of new Set(front.map((r) => r.cut))) {
        const part = front.filter((r) => r.cut === cut);
        svg.append(shape("path", { d: `M${part.map((r) => `${x(r.delay_s)} ${y(r.energy_j)}`).join("L")}`, class: "ex-front" }));
        const end = part[0];
        if (part.length === 1) svg.append(shape("circle", { cx: x(end.delay_s), cy: y(end.energy_j), r: 4, class: "ex-point" }));
      }
      const marks = [(cx, cy) => box(cx - 4.5, cy - 4.5, 9, 9), (cx, cy) => `M${cx} ${cy - 6.5}l6 11h-12z`];
      rivals.forEach(([name, r], k) => {
        const end = x1 - 96 * k;
        svg.append(shape("path", { d: marks[k](x(r.delay_s), y(r.energy_j)), class: "ex-rival" }));
        svg.append(write(end, 14, name, { "text-anchor": "end", class: "ex-small" }));
        svg.append(shape("path", { d: marks[k](end - 82, 10), class: "ex-rival" }));
      });
      svg.append(star(x(row.delay_s), y(row.energy_j)));
      return `Delay against server energy: CARD’s decisions at every weight as lines, the chosen one a star, and two benchmarks: ${rivals.map(([name, r]) => `${name} ${quantity(r.delay_s, "s")}, ${quantity(r.energy_j, "J")}`).join("; ")}.`;
    },

    pair(svg, width, height, { pair }) {
      const low = Math.min(0, ...pair.curve.flat(), ...pair.reached), scale = 0.01;
      const { x, y } = plane(svg, width, height,
        { low, high: 1, scale, label: "delay saved against device only [%]" },
        { low, high: 1, scale, label: "server energy saved against server only [%]" });
      svg.append(shape("path", { d: `M${pair.curve.map(([a, b]) => `${x(a)} ${y(b)}`).join("L")}`, class: "ex-front" }));
      const [c1, c2] = pair.published;
      svg.append(shape("circle", { cx: x(c1), cy: y(c2), r: 9, class: "ex-target" }), shape("circle", { cx: x(c1), cy: y(c2), r: 2.5, class: "ex-target-dot" }));
      svg.append(write(x(c1) - 14, y(c2) + 4, "published", { "text-anchor": "end", class: "ex-halo" }));
      svg.append(star(x(pair.reached[0]), y(pair.reached[1])));
      return `Delay saved against energy saved: the published pair a ring, what CARD reaches a star, and what it reaches at every other weight a line.`;
    },

    delay(svg, width, height, { policies, rows }) {
      const top = Math.max(...rows.map((r) => r.delay_s)), room = width - 1;
      rows.forEach((r, k) => {
        let x = 0;
        svg.append(write(0, 13 + 54 * k, policies[k], k ? {} : { class: "ex-strong" }));
        svg.append(write(room, 13 + 54 * k, `${quantity(r.delay_s, "s")}, ${quantity(r.energy_j, "J")}`, { "text-anchor": "end", class: "ex-strong" }));
        for (const [name, part] of PARTS) {
          const wide = (r[name] / top) * room;
          if (wide > 0) svg.append(...area(part, box(x, 19 + 54 * k, wide, 24)));
          x += wide;
        }
      });
      return rows.map((r, k) => `${policies[k]}: ${quantity(r.delay_s, "s")}, ${quantity(r.energy_j, "J")} at the server`).join("; ");
    },

    energy(svg, width, height, { policies, rows }) {
      const spent = (r) => [["server", r.energy_j], ["device", r.device_energy_j]];
      const known = rows.flatMap(spent).map(([, j]) => j).filter((j) => !Number.isNaN(j));
      const top = Math.max(1e-12, ...known), room = width - 140;
      rows.forEach((r, k) => {
        svg.append(write(0, 13 + 54 * k, policies[k], k ? {} : { class: "ex-strong" }));
        spent(r).forEach(([who, j], place) => {
          const y = 19 + 54 * k + 16 * place, wide = Number.isNaN(j) ? 0 : (j / top) * room;
          if (wide > 0) svg.append(...area(who, box(0, y, wide, 13)));
          svg.append(write(wide + 6, y + 11, `${who} ${quantity(j, "J")}`, { class: "ex-small" }));
        });
      });
      const said = rows.map((r, k) => `${policies[k]}: ${spent(r).map(([who, j]) => `${who} ${quantity(j, "J")}`).join(", ")}`);
      return said.join("; ");
    },
  };

  return { PARTS, area, box, drawings, number, quantity, shape, shares, ticks, write };
})();
