"""Processors: the catalogue of datasheets, measured profiles, and power over the clock."""

from card.hardware.catalogue import Hardware, against_datasheet, catalogue, hardware, load_profile
from card.hardware.power import power_w, thriftiest_clock
from card.hardware.profile import Profile, read_profile
