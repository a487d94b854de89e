"""NVML as nvidia-ml-py offers it, which records what it is asked; no GPU is behind it."""

from types import SimpleNamespace

UUID = "GPU-1b2c"
OFFERED_MHZ = {1593: [1980, 1500, 1005, 345], 2619: [1980, 1965, 1500, 345]}


class NVMLError(Exception):
    """As NVML's own, with the words of its code."""


def fake_nvml(*, energy_mj=(), refuses=(), offered_mhz=OFFERED_MHZ):
    """The module, with a list `calls` of what was asked.

    `energy_mj` are the counter's readings in turn, `refuses` the names of functions that the caller
    has no permission for.
    """
    calls, readings = [], iter(energy_mj)

    def function(name, answer):
        def call(*arguments):
            calls.append((name, *arguments))
            if name in refuses:
                raise NVMLError("Insufficient Permissions")
            return answer(*arguments)

        return call

    answers = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: {UUID: "handle"}[uuid],
        "nvmlDeviceGetTotalEnergyConsumption": lambda _: next(readings),
        "nvmlDeviceGetSupportedMemoryClocks": lambda _: list(offered_mhz),
        "nvmlDeviceGetSupportedGraphicsClocks": lambda _, memory_mhz: offered_mhz[memory_mhz],
        "nvmlDeviceSetGpuLockedClocks": lambda _, low_mhz, high_mhz: None,
        "nvmlDeviceResetGpuLockedClocks": lambda _: None,
    }
    functions = {name: function(name, answer) for name, answer in answers.items()}
    return SimpleNamespace(NVMLError=NVMLError, calls=calls, **functions)


def locks(nvml):
    """What was locked [MHz] and released, in order."""
    names = {"nvmlDeviceSetGpuLockedClocks": "lock", "nvmlDeviceResetGpuLockedClocks": "release"}
    return [(names[name], *rest[1:]) for name, *rest in nvml.calls if name in names]
