/* The Explorer's solver: CARD's decision of one device-round, in the reader's browser.

What delay, energy and the clock's condition are is said in explorer-formulas.js, which is made from
`card`. Here is the search alone: every option that fits, each at its best clock. */

"use strict";

const ExplorerSolver = (() => {
  const F = ExplorerFormulas;
  /** As in `card.solver.optimum`: objectives this close are a tie, and so is what rounding adds. */
  const TIE = 1e-12, ROUNDING = 2e-15;
  const EULER_GAMMA = 0.5772156649015329;
  /** Parts of the delay that lanes are busy with. */
  const LANES = { device: "device_compute_s", uplink: "uplink_s", server: "server_compute_s", downlink: "downlink_s" };
  const SERIES_TERMS = 20, FRACTION_TERMS = 80, NEWTON_STEPS = 60;

  /** e^x E1(x), as `card.channel.rates` has it. */
  function scaledExponentialIntegral(x) {
    if (x < 1) {
      let power = 1, series = 0;
      for (let k = 1; k <= SERIES_TERMS; k++) {
        power *= -x / k;
        series += power / k;
      }
      return Math.exp(x) * (-EULER_GAMMA - Math.log(x) - series);
    }
    let fraction = x + 2 * FRACTION_TERMS + 1;
    for (let k = FRACTION_TERMS; k >= 1; k--) fraction = x + 2 * k - 1 - (k * k) / fraction;
    return 1 / fraction;
  }

  /** Mean of log(1 + s|h|²), capped where the link has a most efficient code. */
  function meanNats(link, snr) {
    const most = (link.spectral_efficiency_max ?? Infinity) * Math.LN2;
    if (link.fading === "none") return Math.min(Math.log1p(snr), most);
    const inverse = 1 / snr, free = scaledExponentialIntegral(inverse);
    const beyond = inverse * Math.expm1(most);
    if (!(beyond < Infinity)) return free;
    return free - Math.exp(-beyond) * scaledExponentialIntegral(inverse + beyond);
  }

  /** Rates up and down [bit/s] of a link without shadowing. */
  function rates(link, path_loss_exponent, bandwidth_hz, distance_m) {
    const gain = F.gain({ ...link, path_loss_exponent, distance_m });
    return [link.uplink_power_dbm, link.downlink_power_dbm].map((power_dbm) => {
      const snr = F.usable_snr({ ...link, bandwidth_hz, gain, power_dbm });
      return F.rate_bps({ ...link, bandwidth_hz, mean_nats: meanNats(link, snr) });
    });
  }

  /** Clock at which the server draws a power [Hz]; P grows and is convex, so Newton comes from above. */
  function clockAt(law, power_w, top) {
    let frequency_hz = top;
    for (let step = 0; step < NEWTON_STEPS; step++) {
      const at = { ...law, frequency_hz };
      frequency_hz -= (F.server_power_w(at) - power_w) / F.server_power_slope(at);
    }
    return frequency_hz;
  }

  /** Power law and clocks of a server for a device, or what is wrong with them. */
  function serverOf(server, static_power_w, throughput_flops) {
    const law = { ...server, static_power_w };
    law.power_coefficient = F.power_coefficient(law);
    const { power_cap_w: cap_w, minimum_frequency_hz: floor } = server;
    let top = server.frequency_max_hz, clocks = server.clocks_hz;
    const full = { ...law, frequency_hz: server.clock_hz };
    if (cap_w !== null && cap_w < F.server_power_w(full)) {
      const capped = cap_w > static_power_w ? clockAt(law, cap_w, server.clock_hz) : 0;
      clocks = clocks?.filter((clock) => clock <= capped) ?? null;
      if (clocks) top = clocks.at(-1) ?? 0;
      else top = Math.min(top, capped);
      if (!(top > 0 && top >= floor)) return { refused: `With ${static_power_w} W of static power, the power cap of ${cap_w} W leaves the server no clock; give less.` };
    }
    let lowest = Math.min(Math.max(floor, throughput_flops / server.flops_per_hz), top);
    if (clocks) lowest = clocks.find((clock) => clock >= lowest);
    return { law, top, lowest, clocks };
  }

  /** Best clock between the lowest and the highest at given prices, `ratio` being overhead per cycle. */
  function bestClock({ law, top, lowest, clocks }, delay_price, energy_price, ratio) {
    const at = { ...law, delay_price, energy_price, ratio, frequency_hz: top };
    let clock = top;
    if (energy_price > 0 && F.price_slope(at) > 0) {
      clock = Math.min(F.stationary_hz(at), top);
      if (ratio > 0)
        // the slope grows and is convex, so that steps from above come down to its root
        for (let step = 0; step < NEWTON_STEPS; step++) {
          at.frequency_hz = clock;
          const next = clock - F.price_slope(at) / F.price_curvature(at);
          if (!(next < clock)) break;
          clock = next;
        }
    }
    clock = Math.min(Math.max(clock, lowest), top);
    if (!clocks) return clock;
    const upper = clocks.find((one) => one >= clock) ?? top;
    const lower = Math.max(clocks.findLast((one) => one <= clock) ?? lowest, lowest);
    const price = (frequency_hz) => F.cycle_price({ ...at, frequency_hz });
    return price(lower) <= price(upper) ? lower : upper;
  }

  /** Options that can win on a device, with what a round of each asks for. */
  function optionsOf(system, board, bitsUp, bitsDown) {
    const own = system.boards[board];
    return bitsUp.flatMap((up) =>
      bitsDown.flatMap((down) => {
        const bits = { uplink_bit: system.uplink_bit[up], downlink_bit: system.downlink_bit[down] };
        const columns = Object.entries({ ...system.columns, ...system.overheads, ...own.columns, ...bits });
        return (system.places[board][`${up}/${down}`] ?? []).map((place) => ({
          ...Object.fromEntries(columns.map(([name, values]) => [name, values[place]])), up, down,
        }));
      }),
    );
  }

  /** System of a position; equal parts of systems are there once. */
  function systemOf(data, at) {
    const parts = Object.entries(data.systems[[at.llm, at.topology, at.server].join("|")]);
    return Object.fromEntries(parts.map(([key, place]) => [key, data.parts[place]]));
  }

  /** All that a position fixes but weight, band, distance and the powers. */
  function caseOf(data, at) {
    const system = systemOf(data, at);
    if (system.refused) return system;
    const { board } = data.devices[at.device], bits = (choice, own) => (choice === "listed" ? own : [Number(choice)]);
    const options = optionsOf(system, board, bits(at.up, data.bits.listed.uplink_bits), bits(at.down, data.bits.listed.downlink_bits));
    if (!options.length) return { refused: "No cut is allowed with these bits here; choose other bits." };
    const { link, exponents } = data.boards[board];
    return { system, options, device: system.boards[board], link, exponent: exponents[at.state] };
  }

  /** What an option costs at a clock: the fields of `Costs`, with delay and energy. */
  function costsAt(fixed, law, frequency_hz) {
    const parts = { ...fixed, frequency_hz };
    parts.busy_s = F.busy_s(parts);
    parts.server_compute_s = parts.busy_s + fixed.server_launch_s;
    parts.server_power_w = F.server_power_w({ ...law, frequency_hz });
    parts.delay_s = F.delay_s(parts);
    parts.energy_j = F.energy_j(parts);
    return parts;
  }

  /** Options on a link, with what no clock changes. */
  function fixedParts({ options, device, system }, uplink_bps, downlink_bps, waiting_power_w) {
    return options.map((option) => {
      const asked = { ...option, ...device, flops_per_hz: system.server.flops_per_hz, uplink_bps, downlink_bps };
      const adapter_up_s = F.adapter_up_s(asked), smashed_s = F.uplink_s(asked);
      const overhead_s = F.overhead_s(option), cycles = F.cycles(asked);
      return {
        cut: option.cut, up: option.up, down: option.down, overhead_s, cycles, waiting_power_w,
        ratio: cycles > 0 ? overhead_s / cycles : 0,
        device_compute_s: F.device_compute_s(asked),
        uplink_s: smashed_s + option.up_trips_s,
        downlink_s: F.downlink_s(asked) + option.down_trips_s,
        adapter_down_s: F.adapter_down_s(asked) + option.adapter_trip_s,
        adapter_up_s: adapter_up_s + option.adapter_trip_s,
        smashed_s, sending_s: smashed_s + adapter_up_s,
        server_launch_s: option.server_launch_s,
      };
    });
  }

  /** Options of a position with the range of its server's clock, and the extremes of its costs. */
  function roundOf(data, at, known = caseOf(data, at)) {
    if (known.refused) return known;
    const { system, device, link, exponent } = known;
    const server = serverOf(system.server, at.static, device.throughput_flops);
    if (server.refused) return server;
    const [up, down] = rates(link, exponent, at.band, at.distance);
    const fixed = fixedParts(known, up, down, at.waiting);
    const extremes = { delay_min_s: Infinity, delay_max_s: 0, energy_min_j: Infinity, energy_max_j: 0 };
    const thrifty = perRatio((ratio) => bestClock(server, 0, 1, ratio));
    for (const one of fixed) {
      const fast = costsAt(one, server.law, server.top), slow = costsAt(one, server.law, server.lowest);
      const least = costsAt(one, server.law, thrifty(one.ratio));
      extremes.delay_min_s = Math.min(extremes.delay_min_s, fast.delay_s);
      extremes.delay_max_s = Math.max(extremes.delay_max_s, slow.delay_s);
      extremes.energy_min_j = Math.min(extremes.energy_min_j, least.energy_j);
      extremes.energy_max_j = Math.max(extremes.energy_max_j, fast.energy_j, slow.energy_j);
    }
    return { ...known, server, fixed, extremes, uplink_bps: up, downlink_bps: down };
  }

  /** A clock by overhead per cycle, found once for options that share it. */
  function perRatio(find) {
    const found = new Map();
    return (ratio) => found.get(ratio) ?? found.set(ratio, find(ratio)).get(ratio);
  }

  function pricesOf({ delay_min_s, delay_max_s, energy_min_j, energy_max_j }, weight) {
    const price = (above, span) => (span > 0 ? above / span : 0);
    return { delay_price: price(weight, delay_max_s - delay_min_s), energy_price: price(1 - weight, energy_max_j - energy_min_j) };
  }

  /** A decision with all that it costs, the device's energy included. */
  function withDevice(decision, { device }) {
    return { ...decision, device_energy_j: F.device_energy_j({ ...device, ...decision, device_power_w: device.device_power_w ?? NaN }) };
  }

  /** CARD's decision: the first option that is within a tie of the least objective. */
  function decide(round, weight) {
    const { fixed, server, extremes } = round, prices = pricesOf(extremes, weight);
    const clock = perRatio((ratio) => bestClock(server, prices.delay_price, prices.energy_price, ratio));
    const scored = fixed.map((one) => {
      const costs = costsAt(one, server.law, clock(one.ratio));
      costs.objective = F.objective({ ...extremes, ...prices, ...costs });
      return costs;
    });
    const slack = TIE + ROUNDING * (prices.delay_price * extremes.delay_max_s + prices.energy_price * extremes.energy_max_j);
    const least = Math.min(...scored.map((one) => one.objective)) + slack;
    return withDevice(scored.find((one) => one.objective <= least), round);
  }

  /** What the two benchmarks do: as much as fits on the device, or on the server at full clock. */
  function benchmarks(round, weight) {
    const { fixed, server, extremes } = round, { delay_price, energy_price } = pricesOf(extremes, weight);
    const most = fixed.reduce((best, one) => (one.cut > best.cut ? one : best));
    const least = fixed.reduce((best, one) => (one.cut < best.cut ? one : best));
    const clock = bestClock(server, delay_price, energy_price, most.ratio);
    return [costsAt(most, server.law, clock), costsAt(least, server.law, server.top)].map((one) => withDevice(one, round));
  }

  /** Steps of a decision's round in order, as `card.studies.timeline` has them; those between adapters have their mini-batch. */
  function stepsOf(decision, { system }) {
    const { local_iterations, mini_batch, columns } = system, steps = [];
    let start_s = 0;
    const run = (lane, label, part, duration_s, batch) => {
      if (duration_s > 0) steps.push({ lane, label, part, batch, start_s, duration_s });
      start_s += duration_s;
    };
    run("downlink", "adapters", "adapter_down_s", decision.adapter_down_s, 1);
    for (let batch = 1; batch <= local_iterations; batch++)
      for (const [lane, label, share] of mini_batch[columns.cut.indexOf(decision.cut)])
        run(lane, label, LANES[lane], F.step_s({ share, stage_s: decision[LANES[lane]], local_iterations }), batch);
    run("uplink", "adapters", "adapter_up_s", decision.adapter_up_s, local_iterations);
    return steps;
  }

  /** Seconds that have passed and joules that are spent at a moment of a decision's round. */
  function spentAt(decision, { device }, steps, now_s) {
    const known = { ...device, ...decision, device_power_w: device.device_power_w ?? NaN };
    for (const part of [...Object.values(LANES), "adapter_down_s", "adapter_up_s"]) {
      let done_s = 0, whole_s = 0;
      for (const step of steps)
        if (step.part === part) {
          done_s += Math.min(Math.max(now_s - step.start_s, 0), step.duration_s);
          whole_s += step.duration_s;
        }
      known[part.replace(/_s$/, "_done")] = done_s / (whole_s || 1);
    }
    return { passed_s: F.passed_s(known), energy_j: F.spent_j(known), device_energy_j: F.device_spent_j(known) };
  }

  /** Decision at a position, or why there is none. */
  function solve(data, at) {
    const round = roundOf(data, at);
    return round.refused ? round : { ...decide(round, at.weight), extremes: round.extremes };
  }

  return { LANES, benchmarks, caseOf, decide, roundOf, solve, spentAt, stepsOf, systemOf };
})();
