/* The Explorer's formulas: the functions of `card`, called with symbols by SymPy, and printed.

Made by `python tests/helpers/formulas.py`; what is changed by hand here, a test finds. */

"use strict";

const ExplorerFormulas = {
  device_compute_s: ({ device_flop, device_overhead_s, throughput_flops }) => device_flop/throughput_flops + device_overhead_s,
  uplink_s: ({ uplink_bit, uplink_bps }) => uplink_bit/uplink_bps,
  downlink_s: ({ downlink_bit, downlink_bps }) => downlink_bit/downlink_bps,
  adapter_down_s: ({ adapter_bit, downlink_bps }) => adapter_bit/downlink_bps,
  adapter_up_s: ({ adapter_bit, uplink_bps }) => adapter_bit/uplink_bps,
  overhead_s: ({ server_launch_s, server_overhead_s }) => -server_launch_s + server_overhead_s,
  cycles: ({ flops_per_hz, server_flop }) => server_flop/flops_per_hz,
  busy_s: ({ cycles, frequency_hz, overhead_s }) => cycles/frequency_hz + overhead_s,
  power_coefficient: ({ clock_hz, linear_power_w_per_hz, max_power_w, static_power_w }) => (-clock_hz*linear_power_w_per_hz + max_power_w - static_power_w)/Math.pow(clock_hz, 3),
  server_power_w: ({ frequency_hz, linear_power_w_per_hz, power_coefficient, static_power_w }) => Math.pow(frequency_hz, 3)*power_coefficient + frequency_hz*linear_power_w_per_hz + static_power_w,
  server_power_slope: ({ frequency_hz, linear_power_w_per_hz, power_coefficient }) => 3*Math.pow(frequency_hz, 2)*power_coefficient + linear_power_w_per_hz,
  delay_s: ({ adapter_down_s, adapter_up_s, device_compute_s, downlink_s, server_compute_s, uplink_s }) => adapter_down_s + adapter_up_s + device_compute_s + downlink_s + server_compute_s + uplink_s,
  energy_j: ({ adapter_down_s, adapter_up_s, device_compute_s, downlink_s, server_compute_s, server_launch_s, server_power_w, uplink_s, waiting_power_w }) => server_power_w*(server_compute_s - server_launch_s) + waiting_power_w*(adapter_down_s + adapter_up_s + device_compute_s + downlink_s + server_launch_s + uplink_s),
  device_energy_j: ({ adapter_down_s, adapter_up_s, device_compute_s, device_power_w, device_waiting_power_w, downlink_s, sending_s, server_compute_s, uplink_power_w, uplink_s }) => device_compute_s*device_power_w + device_waiting_power_w*(adapter_down_s + adapter_up_s + downlink_s - sending_s + server_compute_s + uplink_s) + sending_s*uplink_power_w,
  step_s: ({ local_iterations, share, stage_s }) => share*stage_s/local_iterations,
  passed_s: ({ adapter_down_done, adapter_down_s, adapter_up_done, adapter_up_s, device_compute_done, device_compute_s, downlink_done, downlink_s, server_compute_done, server_compute_s, uplink_done, uplink_s }) => adapter_down_done*adapter_down_s + adapter_up_done*adapter_up_s + device_compute_done*device_compute_s + downlink_done*downlink_s + server_compute_done*server_compute_s + uplink_done*uplink_s,
  spent_j: ({ adapter_down_done, adapter_down_s, adapter_up_done, adapter_up_s, device_compute_done, device_compute_s, downlink_done, downlink_s, server_compute_done, server_compute_s, server_launch_s, server_power_w, uplink_done, uplink_s, waiting_power_w }) => server_power_w*(server_compute_done*server_compute_s - server_compute_done*server_launch_s) + waiting_power_w*(adapter_down_done*adapter_down_s + adapter_up_done*adapter_up_s + device_compute_done*device_compute_s + downlink_done*downlink_s + server_compute_done*server_launch_s + uplink_done*uplink_s),
  device_spent_j: ({ adapter_down_done, adapter_down_s, adapter_up_done, adapter_up_s, device_compute_done, device_compute_s, device_power_w, device_waiting_power_w, downlink_done, downlink_s, sending_s, server_compute_done, server_compute_s, smashed_s, uplink_done, uplink_power_w, uplink_s }) => device_compute_done*device_compute_s*device_power_w + device_waiting_power_w*(adapter_down_done*adapter_down_s + adapter_up_done*adapter_up_s - adapter_up_done*(sending_s - smashed_s) + downlink_done*downlink_s + server_compute_done*server_compute_s - smashed_s*uplink_done + uplink_done*uplink_s) + uplink_power_w*(adapter_up_done*(sending_s - smashed_s) + smashed_s*uplink_done),
  objective: ({ delay_min_s, delay_price, delay_s, energy_j, energy_min_j, energy_price }) => delay_price*(-delay_min_s + delay_s) + energy_price*(energy_j - energy_min_j),
  cycle_price: ({ delay_price, energy_price, frequency_hz, linear_power_w_per_hz, power_coefficient, ratio, static_power_w }) => ratio*(delay_price + energy_price*(Math.pow(frequency_hz, 3)*power_coefficient + frequency_hz*linear_power_w_per_hz + static_power_w)) + (delay_price + energy_price*(Math.pow(frequency_hz, 3)*power_coefficient + frequency_hz*linear_power_w_per_hz + static_power_w))/frequency_hz,
  price_slope: ({ delay_price, energy_price, frequency_hz, linear_power_w_per_hz, power_coefficient, ratio, static_power_w }) => -delay_price - energy_price*static_power_w + Math.pow(frequency_hz, 2)*(energy_price*linear_power_w_per_hz*ratio + frequency_hz*(3*energy_price*frequency_hz*power_coefficient*ratio + 2*energy_price*power_coefficient)),
  price_curvature: ({ energy_price, frequency_hz, linear_power_w_per_hz, power_coefficient, ratio }) => frequency_hz*(2*energy_price*linear_power_w_per_hz*ratio + frequency_hz*(12*energy_price*frequency_hz*power_coefficient*ratio + 6*energy_price*power_coefficient)),
  stationary_hz: ({ delay_price, energy_price, power_coefficient, static_power_w }) => (1/2)*Math.pow(2, 2/3)*Math.cbrt(delay_price + energy_price*static_power_w)/(Math.cbrt(energy_price)*Math.cbrt(power_coefficient)),
  gain: ({ distance_m, path_loss_exponent, reference_loss_db }) => Math.pow(10, -1/10*reference_loss_db)*Math.pow(distance_m, -path_loss_exponent),
  level_w: ({ power_dbm }) => (1/1000)*Math.pow(10, (1/10)*power_dbm),
  usable_snr: ({ bandwidth_hz, gain, gap_db, noise_dbm_per_hz, noise_figure_db, power_dbm }) => Math.pow(10, -1/10*noise_dbm_per_hz)*Math.pow(10, (1/10)*power_dbm)*Math.pow(10, -1/10*gap_db - 1/10*noise_figure_db)*gain/bandwidth_hz,
  rate_bps: ({ bandwidth_hz, mean_nats, overhead_share }) => bandwidth_hz*mean_nats*(1 - overhead_share)/Math.log(2),
};
