"""The market's rules as the environment sets them."""

from datetime import date, datetime, time

import pytest

from pulse_adapters.market_settings import VARIABLES, read_market
from pulse_domain.charges import NO_CHARGES, ChargesSchedule
from pulse_domain.charges import ZERODHA as ZERODHA_CHARGES
from pulse_domain.instruments import Exchange
from pulse_domain.market import CAPABILITIES, FreezeReading, PhaseKind, TradingSegment, mis_cutoff
from pulse_domain.units import INDIA
from pulse_domain.use_cases.market_gate import MarketRules, OutsideSession

CALENDAR = (
    '[{"market": "EQUITY", "covered_to": "2027-12-31", "holidays": ["2027-01-26"],'
    ' "sessions": {"2026-11-08": [["18:00", "19:00"]]}}]'
)


@pytest.mark.parametrize("broker", ["", "virtual", "mock"])
def test_the_virtual_broker_is_always_open(broker: str) -> None:
    market = read_market({"BROKER_TYPE": broker})

    assert market.broker == "virtual"
    assert market.rules.outside_session is OutsideSession.ACCEPT
    assert market.rules.unconfirmed == frozenset()
    assert market.freeze_reading is FreezeReading.SAFE


@pytest.mark.parametrize("variable", ["BROKER_TYPE", "VIRTUAL_BROKER_READS"])
@pytest.mark.parametrize("broker", ["zerodha", "kotak"])
def test_a_real_broker_keeps_hours_and_its_own_rules(broker: str, variable: str) -> None:
    market = read_market({variable: broker})
    rules = market.rules

    assert market.broker == broker

    assert rules.outside_session is OutsideSession.REJECT
    assert rules.unconfirmed == {Exchange.MCX, Exchange.CDS}
    assert rules.capabilities is not None
    assert rules.capabilities.broker == broker
    assert rules.phases == {PhaseKind.CONTINUOUS}


def test_everything_can_be_set() -> None:
    market = read_market(
        {
            "BROKER_TYPE": "zerodha",
            "OUTSIDE_SESSION": "queue",
            "MARKET_PHASES": "CONTINUOUS, PRE_OPEN",
            "MARKET_CALENDAR": CALENDAR,
            "MIS_CUTOFFS": "CASH=15:00",
            "DELIVERY_ONLY_SERIES": "BE,BZ,T0",
            "UNITS_CONFIRMED": "MCX",
            "FREEZE_QUANTITY_READING": "limit",
            "BROKER_CHARGES": "none",
        }
    )

    rules = market.rules
    assert rules.outside_session is OutsideSession.QUEUE
    assert rules.phases == {PhaseKind.CONTINUOUS, PhaseKind.PRE_OPEN}
    assert rules.delivery_only_series == {"BE", "BZ", "T0"}
    assert rules.unconfirmed == {Exchange.CDS}
    close = datetime(2026, 11, 20, 15, 30, tzinfo=INDIA)
    assert mis_cutoff(TradingSegment.CASH, close, rules.mis_cutoffs) == close.replace(hour=15, minute=0)
    assert market.calendar[0].sessions == {date(2026, 11, 8): ((time(18), time(19)),)}
    assert market.freeze_reading is FreezeReading.LIMIT
    assert market.charges is NO_CHARGES


@pytest.mark.parametrize(
    ("broker", "charges"), [("virtual", ZERODHA_CHARGES), ("zerodha", ZERODHA_CHARGES), ("kotak", None)]
)
def test_charges_are_known_of_some_brokers_only(broker: str, charges: ChargesSchedule | None) -> None:
    assert read_market({"BROKER_TYPE": broker}).charges is charges
    assert read_market({"BROKER_TYPE": broker, "BROKER_CHARGES": "zerodha"}).charges is ZERODHA_CHARGES


def test_delivery_only_series_can_be_none() -> None:
    assert read_market({"DELIVERY_ONLY_SERIES": "none"}).rules.delivery_only_series == frozenset()


def test_empty_variables_count_as_absent() -> None:
    assert read_market(dict.fromkeys(VARIABLES, "")) == read_market({})
    assert read_market({}).rules == MarketRules(capabilities=read_market({}).rules.capabilities)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKER_TYPE", "upstox"),
        ("VIRTUAL_BROKER_READS", "upstox"),
        ("VIRTUAL_BROKER_READS", "virtual"),
        ("OUTSIDE_SESSION", "ignore"),
        ("MARKET_PHASES", "CONTINUOUS,NIGHT"),
        ("MARKET_CALENDAR", "tomorrow"),
        ("MARKET_CALENDAR", '[{"market": "NASDAQ"}]'),
        ("MARKET_CALENDAR", '[{"market": "EQUITY", "closed": []}]'),
        ("MARKET_CALENDAR", '[{"market": "EQUITY", "covered_to": "2027-12-31"}]'),
        ("MARKET_CALENDAR", '[{"market": "EQUITY", "sessions": {"2026-11-08": [["19:00", "18:00"]]}}]'),
        ("MIS_CUTOFFS", "CASH"),
        ("DELIVERY_ONLY_SERIES", "all"),
        ("UNITS_CONFIRMED", "GOLD"),
        ("FREEZE_QUANTITY_READING", "both"),
        ("BROKER_CHARGES", "20"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name) as raised:
        read_market({name: value})

    assert str(raised.value).startswith(name)
    assert "\n" not in str(raised.value)


def test_a_real_broker_is_not_taken_for_a_virtual_one() -> None:
    with pytest.raises(ValueError, match="VIRTUAL_BROKER_READS goes with BROKER_TYPE=virtual only"):
        read_market({"BROKER_TYPE": "zerodha", "VIRTUAL_BROKER_READS": "zerodha"})


@pytest.mark.parametrize(
    ("broker", "url"),
    [
        ("zerodha", ""),
        ("zerodha", "https://api.kite.trade"),
        ("zerodha", "https://localhost.example.com"),
        ("zerodha", "http://[127.0.0.1"),
        ("kotak", "http://127.0.0.1:8600"),
    ],
)
def test_a_real_broker_is_never_silently_open(broker: str, url: str) -> None:
    with pytest.raises(ValueError, match="OUTSIDE_SESSION=accept goes with BROKER_TYPE=virtual only"):
        # The address that counts is the broker's own.
        read_market({"BROKER_TYPE": broker, "OUTSIDE_SESSION": "accept", "ZERODHA_BASE_URL": url})


@pytest.mark.parametrize("url", ["http://127.0.0.1:8600", "http://localhost:8600", "http://[::1]:8600"])
@pytest.mark.parametrize(("broker", "name"), [("zerodha", "ZERODHA_BASE_URL"), ("kotak", "KOTAK_LOGIN_URL")])
def test_a_simulated_broker_may_be_open_at_any_hour(broker: str, name: str, url: str) -> None:
    asked = {"BROKER_TYPE": broker, name: url}

    assert read_market(asked).rules.outside_session is OutsideSession.REJECT
    opened = read_market(asked | {"OUTSIDE_SESSION": "accept"}).rules
    assert opened.outside_session is OutsideSession.ACCEPT
    assert opened.capabilities is CAPABILITIES[broker], "the hours alone are off"
