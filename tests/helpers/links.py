"""The nominal scenario's link, changed where a test says so."""

import card


def link(**changes):
    nominal = card.load_scenario("nominal")
    return nominal.updated({f"link.{key}": value for key, value in changes.items()}).link
