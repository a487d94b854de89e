"""The real LLM with adapters, its two sides of a cut, and the text that it is trained on."""

import logging

# peft imports it where it is installed, and it warns of a kernel that nothing here uses
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
